#include "transport/tcp_connection.h"

#include <netdb.h>
#include <openssl/evp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "transport/openssl_handles.h"

namespace hwid::transport {

namespace {

constexpr std::size_t kLongestAnswer = 16384;  // of a proxy, its headers

// 0, or an errno.
int connect_one(const addrinfo& address, Socket& socket, Deadline deadline) {
  socket.reset(::socket(address.ai_family, address.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                        address.ai_protocol));
  if (socket.get() < 0) return errno;
  if (::connect(socket.get(), address.ai_addr, address.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (!wait_for(socket.get(), POLLOUT, deadline)) return ETIMEDOUT;
  int reason = 0;
  socklen_t size = sizeof reason;
  return ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &reason, &size) == 0 ? reason : errno;
}

TcpConnection connect_to(const std::string& host, std::uint16_t port, Deadline deadline,
                         Addresses which) {
  TcpConnection connection;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int resolved = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (resolved != 0) {
    connection.result = TcpResult::name_not_resolved;
    connection.why = ::gai_strerror(resolved);
    return connection;
  }
  const std::unique_ptr<addrinfo, OpensslDelete<::freeaddrinfo>> addresses(list);
  const int reason =
      connect_any(addresses_to_try(addresses.get(), which), connection.socket, deadline);
  if (reason == 0)
    connection.result = TcpResult::connected;
  else
    connection.why = std::strerror(reason);
  return connection;
}

std::string base64(const std::string& text) {
  std::string encoded(4 * ((text.size() + 2) / 3) + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(encoded.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  encoded.resize(static_cast<std::size_t>(size));
  return encoded;
}

// Empty, or why it failed.
std::string send_all(int descriptor, std::string_view text, Deadline deadline) {
  while (!text.empty()) {
    const auto sent = ::send(descriptor, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      text.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (!wait_for(descriptor, POLLOUT, deadline)) return std::strerror(ETIMEDOUT);
    } else if (errno != EINTR) {
      return std::strerror(errno);
    }
  }
  return {};
}

// Reads up to the empty line, byte by byte: what follows belongs to the endpoint.
std::string read_headers(int descriptor, std::string& headers, Deadline deadline) {
  while (headers.size() < 4 || headers.compare(headers.size() - 4, 4, "\r\n\r\n") != 0) {
    if (headers.size() >= kLongestAnswer) return "its answer has no end";
    char byte = 0;
    const auto got = ::recv(descriptor, &byte, 1, 0);
    if (got == 0) return "it closed the connection without an answer";
    if (got > 0) {
      headers += byte;
    } else if (errno == EAGAIN) {
      if (!wait_for(descriptor, POLLIN, deadline)) return "no answer in time";
    } else if (errno != EINTR) {
      return std::strerror(errno);
    }
  }
  return {};
}

// The proxy's status line as it may be shown.
std::string status_line(const std::string& headers) {
  std::string line = headers.substr(0, headers.find('\r')).substr(0, 100);
  for (char& c : line)
    if (static_cast<unsigned char>(c) < ' ' || static_cast<unsigned char>(c) > '~') c = '?';
  return line;
}

// Empty, or why there is no tunnel.
std::string open_tunnel(int descriptor, const Endpoint& endpoint, const Proxy& proxy,
                        Deadline deadline) {
  const std::string target = endpoint.authority();
  std::string request = "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n";
  if (!proxy.user_info.empty())
    request += "Proxy-Authorization: Basic " + base64(proxy.authorization()) + "\r\n";
  std::string failure = send_all(descriptor, request + "\r\n", deadline);
  std::string headers;
  if (failure.empty()) failure = read_headers(descriptor, headers, deadline);
  if (!failure.empty()) return failure;
  const auto space = headers.find(' ');
  if (headers.rfind("HTTP/1.", 0) != 0 || space == std::string::npos)
    return "it does not speak HTTP: " + status_line(headers);
  if (headers[space + 1] != '2') return "it answered: " + status_line(headers);
  return {};
}

}  // namespace

int Socket::release() noexcept { return std::exchange(descriptor_, -1); }

void Socket::reset(int descriptor) noexcept {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = descriptor;
}

bool wait_for(int descriptor, short events, Deadline deadline) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
                          deadline - std::chrono::steady_clock::now())
                          .count();
    if (left <= 0) return false;
    pollfd waited{descriptor, events, 0};
    const int ready = ::poll(&waited, 1, static_cast<int>(left));
    if (ready < 0 && errno == EINTR) continue;
    return ready > 0;
  }
}

std::vector<const addrinfo*> addresses_to_try(const addrinfo* list, Addresses which) {
  std::vector<const addrinfo*> found;
  for (; list != nullptr; list = list->ai_next) {
    if (which == Addresses::pahos) found.clear();
    found.push_back(list);
    if (which == Addresses::pahos && list->ai_family == AF_INET) break;
  }
  return found;
}

int connect_any(const std::vector<const addrinfo*>& addresses, Socket& socket, Deadline deadline) {
  int reason = EHOSTUNREACH;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const auto now = std::chrono::steady_clock::now();
    const auto share = (deadline - now) / static_cast<long>(addresses.size() - i);
    reason = connect_one(*addresses[i], socket, now + share);
    if (reason == 0) break;
  }
  return reason;
}

TcpConnection connect_tcp(const Endpoint& endpoint, const Proxy& proxy, Deadline deadline,
                          Addresses addresses) {
  if (!proxy.used()) {
    TcpConnection direct = connect_to(endpoint.host, endpoint.port, deadline, addresses);
    direct.reached_for = endpoint.authority();
    return direct;
  }
  TcpConnection connection = connect_to(proxy.host, proxy.port, deadline, addresses);
  connection.reached_for = "the proxy " + proxy.authority();
  if (connection.result != TcpResult::connected) return connection;
  connection.why = open_tunnel(connection.socket.get(), endpoint, proxy, deadline);
  if (!connection.why.empty()) connection.result = TcpResult::proxy_refused;
  return connection;
}

}  // namespace hwid::transport
