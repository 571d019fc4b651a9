// Where hwid.so is.
#pragma once

#include <string>

namespace hwid::openssl_conf {

struct Module {
  std::string path;
  bool needs_path;  // false: OpenSSL finds it by its name
};

// The one of OPENSSL_MODULES, else the one that was installed or built with this program, else the
// one in OpenSSL's own directory. Throws kModuleNotLoadable where there is none.
Module find_module();

}  // namespace hwid::openssl_conf
