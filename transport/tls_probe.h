#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "transport/endpoint.h"

namespace hwid::transport {

// What a TLS connection is made with, in the terms of libssl.
struct TlsSettings {
  Endpoint endpoint;
  std::string ca_file;
  std::string ca_path;
  std::string cert_path;
  std::string key_path;
  std::string key_name;  // what the user calls it, for messages
  std::string ciphers;
  std::vector<std::string> alpn;
};

// Why a connection fails, and what to do; `why` is empty where none was found.
struct TlsFinding {
  std::string why;
  std::string next_step;
};

// Repeats a failed connection by hand, one TCP connection and one handshake, because the MQTT
// library loses the reason: a name that does not resolve, a server certificate that is not
// trusted or has another name, an alert of the server after a TLS 1.3 handshake. Sends nothing
// above TLS. Threads: any. Blocks for at most `timeout` and the time of a name resolution.
TlsFinding probe_tls(const TlsSettings& settings, std::chrono::milliseconds timeout);

// The same for TCP only.
TlsFinding probe_tcp(const Endpoint& endpoint, std::chrono::milliseconds timeout);

// ALPN as libssl takes it: each name behind its length. Throws Error for a name that is empty or
// longer than 255 bytes.
std::string alpn_wire_format(const std::vector<std::string>& names);

}  // namespace hwid::transport
