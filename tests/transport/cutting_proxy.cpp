#include "cutting_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <vector>

namespace hwid::test {

namespace {

constexpr int kLookMs = 50;

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

bool send_all(int to, const char* bytes, std::size_t size) {
  while (size > 0) {
    const ssize_t sent = ::send(to, bytes, size, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes += sent;
    size -= static_cast<std::size_t>(sent);
  }
  return true;
}

}  // namespace

CuttingProxy::CuttingProxy(int target_port, Budget budget)
    : target_port_(target_port),
      budget_(std::move(budget)),
      listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener_, generic, size) != 0 || ::listen(listener_, 16) != 0 ||
      ::getsockname(listener_, generic, &size) != 0)
    throw std::runtime_error("the proxy has no port");
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { run(); });
}

CuttingProxy::~CuttingProxy() {
  stopped_ = true;
  thread_.join();
  for (const auto& pair : pairs_) close_pair(pair, false);
  ::close(listener_);
}

void CuttingProxy::close_pair(const Pair& pair, bool reset) {
  for (const int fd : {pair.client, pair.server}) {
    const linger now{1, 0};
    if (reset) ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    ::close(fd);
  }
}

void CuttingProxy::accept_one() {
  Pair pair;
  pair.client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (pair.client < 0) return;
  pair.server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  pair.left = budget_();
  const sockaddr_in address = loopback(target_port_);
  if (::connect(pair.server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return close_pair(pair, true);
  const int on = 1;
  for (const int fd : {pair.client, pair.server})
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  pairs_.push_back(pair);
}

// False: the pair is over.
bool CuttingProxy::forward(Pair& pair, int from, int to) {
  std::array<char, 4096> bytes{};
  const ssize_t got = ::recv(from, bytes.data(), bytes.size(), 0);
  if (got <= 0) return false;
  const auto size = std::min<std::uint64_t>(static_cast<std::uint64_t>(got), pair.left);
  pair.left -= size;
  if (!send_all(to, bytes.data(), size)) return false;
  if (pair.left > 0) return true;
  ++cuts_;
  return false;
}

void CuttingProxy::run() {
  while (!stopped_) {
    std::vector<pollfd> fds = {{listener_, POLLIN, 0}};
    for (const auto& pair : pairs_) {
      fds.push_back({pair.client, POLLIN, 0});
      fds.push_back({pair.server, POLLIN, 0});
    }
    if (::poll(fds.data(), fds.size(), kLookMs) <= 0) continue;
    std::size_t next = 1;
    for (auto pair = pairs_.begin(); pair != pairs_.end();) {
      const bool from_client = fds[next++].revents != 0;
      const bool from_server = fds[next++].revents != 0;
      const bool good = (!from_client || forward(*pair, pair->client, pair->server)) &&
                        (!from_server || forward(*pair, pair->server, pair->client));
      if (good) {
        ++pair;
        continue;
      }
      close_pair(*pair, pair->left == 0 && cuts_ % 2 == 0);
      pair = pairs_.erase(pair);
    }
    if (fds[0].revents != 0) accept_one();
  }
}

}  // namespace hwid::test
