#include "tools/hwid/paths.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "provider/core/error.h"

namespace hwid::tool {

std::string absolute(const std::string& path) {
  std::error_code error;
  std::filesystem::path resolved = std::filesystem::weakly_canonical(path, error);
  if (!error && resolved.is_relative()) resolved = std::filesystem::absolute(resolved, error);
  return error ? path : resolved.string();
}

std::string absolute_with_links(const std::string& path) {
  std::error_code error;
  const std::filesystem::path whole = std::filesystem::absolute(path, error);
  if (error) return path;
  std::filesystem::path kept;
  for (const std::filesystem::path& step : whole) {
    if (step != ".") kept /= step;  // ".." stays: behind a link it leads elsewhere than back
  }
  return kept.string();
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string without_query(const std::string& text) {
  const std::size_t query = text.find('?');
  return text.find(':') < query ? text.substr(0, query) : text;
}

std::string user_directory(const char* variable, const char* below_home) {
  const char* const value = secure_getenv(variable);
  if (value != nullptr && value[0] == '/') return value;
  const char* const home = secure_getenv("HOME");
  return home != nullptr && home[0] == '/' ? std::string(home) + below_home : "";
}

void make_private_directory(const std::string& path, const char* next_step) {
  std::error_code error;
  const std::filesystem::path above = std::filesystem::path(path).parent_path();
  if (!above.empty() && !std::filesystem::exists(above, error))
    make_private_directory(above, next_step);
  if (::mkdir(path.c_str(), 0700) == 0) return;
  const int code = errno;
  if (code == EEXIST && std::filesystem::is_directory(path, error)) return;
  throw core::Error(core::Reason::kNotPermitted,
                    "mkdir: file=" + path + ": " + std::strerror(code) + "; " + next_step);
}

void require_private_directory(const std::string& path) {
  const auto refuse = [&](const std::string& why, const char* next) {
    throw core::Error(core::Reason::kNotPermitted,
                      "lstat: directory=" + path + ": " + why + "; " + next);
  };
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0)
    refuse(std::strerror(errno), "name another one with --dir");
  if (!S_ISDIR(status.st_mode))
    refuse(S_ISLNK(status.st_mode) ? "it is a symbolic link" : "it is no directory",
           "name a directory with --dir");
  if (status.st_uid != ::geteuid())
    refuse("it belongs to user " + std::to_string(status.st_uid), "name one of yours with --dir");
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    refuse("others may write to it",
           "take that from them (chmod go-w), or name another directory with --dir");
}

void private_directory(const std::string& path) {
  make_private_directory(path, "name a directory of yours with --dir");
  require_private_directory(path);
}

}  // namespace hwid::tool
