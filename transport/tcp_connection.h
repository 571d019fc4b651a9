#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "transport/endpoint.h"
#include "transport/proxy.h"

struct addrinfo;

namespace hwid::transport {

using Deadline = std::chrono::steady_clock::time_point;

// A socket, or none (-1). Move-only.
class Socket {
 public:
  Socket() noexcept = default;
  explicit Socket(int descriptor) noexcept : descriptor_(descriptor) {}
  Socket(Socket&& other) noexcept : descriptor_(other.release()) {}
  Socket& operator=(Socket&& other) noexcept {
    reset(other.release());
    return *this;
  }
  ~Socket() { reset(-1); }
  int get() const noexcept { return descriptor_; }
  int release() noexcept;
  void reset(int descriptor) noexcept;

 private:
  int descriptor_ = -1;
};

// False at the deadline. `events` as for poll(2).
bool wait_for(int descriptor, short events, Deadline deadline);

enum class TcpResult { connected, name_not_resolved, no_connection, proxy_refused };

struct TcpConnection {
  Socket socket;  // not blocking
  TcpResult result = TcpResult::no_connection;
  std::string reached_for;  // who did not answer, for messages: HOST:PORT, or the proxy
  std::string why;
};

// Which of a name's addresses are tried. Paho C knows one: the first of IPv4, else the last.
enum class Addresses { all, pahos };
std::vector<const addrinfo*> addresses_to_try(const addrinfo* list, Addresses which);

// Tries one after the other, each for its share of what is left until the deadline. 0, or the errno
// of the last.
int connect_any(const std::vector<const addrinfo*>& addresses, Socket& socket, Deadline deadline);

// To the endpoint, or, through CONNECT (RFC 9110, 9.3.6), by the proxy. The proxy resolves the
// endpoint's name. Threads: any. Blocks until the deadline at most, and for the resolution of a
// name, which has none.
TcpConnection connect_tcp(const Endpoint& endpoint, const Proxy& proxy, Deadline deadline,
                          Addresses addresses = Addresses::all);

}  // namespace hwid::transport
