#include "tools/openssl_conf/location.h"

#include <openssl/conf.h>
#include <openssl/crypto.h>

#include <cstdlib>

namespace hwid::openssl_conf {

Location locate(const std::string& option) {
  if (!option.empty()) return {option, "--openssl-conf"};
  const char* const variable = secure_getenv("OPENSSL_CONF");
  if (variable != nullptr) return {variable, "OPENSSL_CONF"};
  char* const file = CONF_get1_default_config_file();
  Location location{file != nullptr ? file : "", "OpenSSL's default"};
  OPENSSL_free(file);
  return location;
}

}  // namespace hwid::openssl_conf
