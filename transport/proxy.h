#pragma once

#include <hwid/device_config.h>

#include <cstdint>
#include <string>

namespace hwid::transport {

// An HTTP proxy that is asked for a tunnel (CONNECT): http://[USER[:PASSWORD]@]HOST:PORT. User and
// password are percent-encoded in the URL.
struct Proxy {
  std::string host;  // without brackets; empty: no proxy
  std::uint16_t port = 0;
  std::string user_info;  // as it stands in the URL; never shown

  bool used() const noexcept { return !host.empty(); }
  std::string authority() const;      // HOST:PORT
  std::string authorization() const;  // USER:PASSWORD, decoded
};

// The value of `proxy`; none for an empty one. Throws the Error of refuse_option(), which shows
// nothing of the value: it may hold a password.
Proxy parse_proxy(const DeviceConfig& config);

}  // namespace hwid::transport
