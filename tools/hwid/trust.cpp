#include "tools/hwid/trust.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include "provider/core/error.h"
#include "tools/hwid/files.h"
#include "tools/hwid/paths.h"
#include "tools/openssl_conf/conf.h"
#include "tools/openssl_conf/includes.h"

namespace hwid::tool {
namespace {

namespace fs = std::filesystem;

constexpr int kDeepest = 16;  // files that include files: a circle ends here

std::string unknown(const std::string& path, const std::string& why) {
  return "stat: file=" + path + ": " + why + ", so nobody knows who can write it; ";
}

// The names up to the root, without following the last one of each.
std::string distrust_names(const fs::path& used, const struct stat& owner,
                           const std::string& target) {
  for (fs::path path = used;; path = path.parent_path()) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) return unknown(path.string(), std::strerror(errno));
    const bool owned = status.st_uid == 0 || status.st_uid == owner.st_uid;
    const bool sticky = S_ISDIR(status.st_mode) && (status.st_mode & S_ISVTX) != 0;
    const bool shared =
        (status.st_mode & (S_IWGRP | S_IWOTH)) != 0 && !sticky && !S_ISLNK(status.st_mode);
    if (!owned || shared)
      return "stat: file=" + path.string() + ": others than the owner of " + target +
             " can write it, and choose by that the code that programs load; ";
    if (path == path.root_path()) return "";
  }
}

std::string distrust_included(const std::string& used, const std::string& target, int depth) {
  std::string problem = distrust(used, target);
  if (!problem.empty()) return problem;
  if (depth == kDeepest) return unknown(used, "it includes itself");
  std::error_code error;
  if (fs::is_directory(used, error)) {
    for (const fs::directory_entry& entry : fs::directory_iterator(used, error)) {
      std::string inner = distrust_included(entry.path().string(), target, depth + 1);
      if (!inner.empty()) return inner;
    }
    return error ? unknown(used, error.message()) : "";
  }
  const std::string text = read_file(used);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find_first_of("\r\n", at), text.size());
    const std::string name =
        openssl_conf::included_by(std::string_view(text).substr(at, end - at), used);
    at = end + 1;
    if (name.empty()) continue;
    if (!name.starts_with('/'))
      return unknown(name, "it is included without its whole path, by " + used);
    std::string inner = distrust_included(name, target, depth + 1);
    if (!inner.empty()) return inner;
  }
  return "";
}

bool names_module(const std::string& key) {
  return key == "module" || key.ends_with(".module") || key == "pkcs11-module-path" ||
         key == "pkcs11_module";
}

}  // namespace

std::string distrust(const std::string& used, const std::string& target) {
  struct stat owner {};
  if (::stat(target.c_str(), &owner) != 0) return unknown(target, std::strerror(errno));
  std::error_code error;
  const fs::path named = fs::absolute(used, error).lexically_normal();
  const fs::path file = fs::canonical(used, error);
  if (error) return unknown(used, error.message());
  const std::string problem = distrust_names(file, owner, target);
  return problem.empty() ? distrust_names(named, owner, target) : problem;
}

std::string distrust_configuration(const std::string& used, const std::string& target) {
  return distrust_included(used, target, 0);
}

std::string distrust_modules(const CONF* conf, const std::string& target) {
  std::string problem;
  for (const std::string& section : openssl_conf::section_names(conf)) {
    openssl_conf::for_each(openssl_conf::section_of(conf, section), [&](const std::string& key,
                                                                        const std::string& value) {
      const bool by_path = names_module(key) && value.find('/') != std::string::npos;
      if (problem.empty() && by_path) problem = distrust(value, target);
    });
  }
  return problem;
}

}  // namespace hwid::tool
