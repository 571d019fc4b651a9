#include "tools/hwid/paths.h"

#include <filesystem>
#include <system_error>

namespace hwid::tool {

std::string absolute(const std::string& path) {
  std::error_code error;
  std::filesystem::path resolved = std::filesystem::weakly_canonical(path, error);
  if (!error && resolved.is_relative()) resolved = std::filesystem::absolute(resolved, error);
  return error ? path : resolved.string();
}

}  // namespace hwid::tool
