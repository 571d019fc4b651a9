#include "tools/hwid/paths.h"

#include <sys/stat.h>

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

}  // namespace hwid::tool
