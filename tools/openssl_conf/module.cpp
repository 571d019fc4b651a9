#include "tools/openssl_conf/module.h"

#include <openssl/crypto.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <vector>

#include "provider/core/error.h"

namespace hwid::openssl_conf {

namespace fs = std::filesystem;

Module find_module() {
  std::vector<fs::path> directories;
  const char* const variable = secure_getenv("OPENSSL_MODULES");
  if (variable != nullptr && *variable != '\0') directories.emplace_back(variable);
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    const fs::path above = program.parent_path().parent_path();
    directories.push_back(above / "provider");             // of the build
    directories.push_back(above / HWID_RELATIVE_MODULES);  // of the installation
  }
  const char* const standard = OPENSSL_info(OPENSSL_INFO_MODULES_DIR);
  const fs::path by_name = fs::path(standard != nullptr ? standard : "") / "hwid.so";
  directories.push_back(by_name.parent_path());
  std::string looked;
  for (const fs::path& directory : directories) {
    const fs::path file = fs::weakly_canonical(directory / "hwid.so", error);
    if (!error && fs::is_regular_file(file, error))
      return {file.string(), !fs::equivalent(file, by_name, error)};
    looked.append(looked.empty() ? "" : ", ").append(directory.string());
  }
  throw core::Error(core::Reason::kModuleNotLoadable,
                    "hwid.so: ENOENT: it is not in " + looked +
                        "; install it, or name its directory with OPENSSL_MODULES");
}

}  // namespace hwid::openssl_conf
