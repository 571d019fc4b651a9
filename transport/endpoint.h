#pragma once

#include <cstdint>
#include <string>

namespace hwid::transport {

// SCHEME://HOST[:PORT], an IPv6 address in brackets.
struct Endpoint {
  std::string scheme;      // lower case
  std::string host;        // without brackets
  std::uint16_t port = 0;  // 0: not given

  std::string authority() const;  // HOST:PORT, brackets back in place
};

// Throws Error. A path, query or user name is an error.
Endpoint parse_endpoint(const std::string& text);

}  // namespace hwid::transport
