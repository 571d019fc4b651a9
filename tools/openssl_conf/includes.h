// Files that an openssl.cnf includes.
#pragma once

#include <string>
#include <string_view>

namespace hwid::openssl_conf {

// What a line `.include FILE` names, as OpenSSL expands it; empty for any other line. `path` is for
// messages. Throws kBadConfiguration.
std::string included_by(std::string_view line, const std::string& path);

}  // namespace hwid::openssl_conf
