// Which openssl.cnf a program reads.
#pragma once

#include <string>

namespace hwid::openssl_conf {

// `why` is the rule in words, for people: "--openssl-conf", "OPENSSL_CONF", "OpenSSL's default".
struct Location {
  std::string path;
  std::string why;
};

// The file that `option` names (empty: not given), else OPENSSL_CONF, else the default of the
// OpenSSL that this program is linked with (config(5), "ENVIRONMENT").
Location locate(const std::string& option);

// That default, whatever OPENSSL_CONF names: the file of the programs that are not of this shell.
Location system_default();

}  // namespace hwid::openssl_conf
