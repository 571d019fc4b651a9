#include "tools/openssl_conf/location.h"

#include <openssl/conf.h>
#include <openssl/crypto.h>
#include <openssl/x509.h>

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

// As OpenSSL builds it (crypto/conf/conf_mod.c).
Location system_default() {
  return {std::string(X509_get_default_cert_area()) + "/openssl.cnf", "OpenSSL's default"};
}

}  // namespace hwid::openssl_conf
