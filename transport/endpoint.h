#pragma once

#include <cstdint>
#include <string>

namespace hwid::transport {

// SCHEME://HOST[:PORT][/PATH], an IPv6 address in brackets.
struct Endpoint {
  std::string scheme;      // lower case
  std::string host;        // without brackets
  std::uint16_t port = 0;  // 0: not given
  std::string path;        // with its first slash; empty: not given

  std::string authority() const;  // HOST:PORT, brackets back in place
};

// What stands before the first colon, in lower case. Throws Error where nothing does.
std::string scheme_of(const std::string& text);

// Throws Error. A query or a user name is an error, and with mqtts:// and mqtt:// a path.
Endpoint parse_endpoint(const std::string& text);

// An endpoint as it may be shown: without user, password and query, which no endpoint has, but may
// have been given.
std::string printable_endpoint(const std::string& text);

}  // namespace hwid::transport
