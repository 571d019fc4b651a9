#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "tests/fixture/ports.h"
#include "tls_server.h"
#include "transport/tcp_connection.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)

namespace {

// What getaddrinfo(3) could say.
class AddressList {
 public:
  explicit AddressList(const std::vector<int>& families) : items_(families.size()) {
    for (std::size_t i = 0; i < items_.size(); ++i) {
      items_[i].ai_family = families[i];
      items_[i].ai_next = i + 1 < items_.size() ? &items_[i + 1] : nullptr;
    }
  }
  // The positions that are tried.
  std::vector<std::ptrdiff_t> tried(Addresses which) const {
    std::vector<std::ptrdiff_t> positions;
    for (const addrinfo* address : addresses_to_try(items_.data(), which))
      positions.push_back(address - items_.data());
    return positions;
  }

 private:
  std::vector<addrinfo> items_;
};

struct Address {
  explicit Address(int port) {
    place.sin_family = AF_INET;
    place.sin_port = htons(static_cast<std::uint16_t>(port));
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    info.ai_family = AF_INET;
    info.ai_socktype = SOCK_STREAM;
    info.ai_addr = reinterpret_cast<sockaddr*>(&place);
    info.ai_addrlen = sizeof place;
  }
  Address(const Address&) = delete;
  Address& operator=(const Address&) = delete;
  sockaddr_in place{};
  addrinfo info{};
};

// An address that answers nothing: its queue of connections is full.
class Hole {
 public:
  Hole() : listener_(::socket(AF_INET, SOCK_STREAM, 0)), address_(0) {
    socklen_t size = sizeof address_.place;
    REQUIRE(::bind(listener_.get(), address_.info.ai_addr, size) == 0);
    REQUIRE(::listen(listener_.get(), 0) == 0);
    REQUIRE(::getsockname(listener_.get(), address_.info.ai_addr, &size) == 0);
    const auto full = [this] {
      waiting_.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
      const int socket = waiting_.back().get();
      if (::connect(socket, address_.info.ai_addr, sizeof address_.place) == 0) return false;
      return !wait_for(socket, POLLOUT,
                       std::chrono::steady_clock::now() + std::chrono::milliseconds(200));
    };
    REQUIRE(eventually(full));
  }
  const addrinfo* address() const { return &address_.info; }

 private:
  Socket listener_;
  Address address_;
  std::vector<Socket> waiting_;
};

}  // namespace

TEST_CASE("tcp_connection: for Paho the address that it takes, else all") {
  using Positions = std::vector<std::ptrdiff_t>;
  const AddressList both({AF_INET6, AF_INET6, AF_INET, AF_INET});
  CHECK(both.tried(Addresses::all) == Positions{0, 1, 2, 3});
  CHECK(both.tried(Addresses::pahos) == Positions{2});
  CHECK(AddressList({AF_INET, AF_INET6}).tried(Addresses::pahos) == Positions{0});
  CHECK(AddressList({AF_INET6, AF_INET6}).tried(Addresses::pahos) == Positions{1});
}

TEST_CASE("tcp_connection: an address that does not answer leaves time for the next") {
  const SocketServer server([](int) {});
  const Hole hole;
  const Address good(server.port());
  const Address closed(free_port());
  Socket socket;
  const auto soon = [] { return std::chrono::steady_clock::now() + std::chrono::seconds(2); };
  CHECK(connect_any({hole.address(), &closed.info, &good.info}, socket, soon()) == 0);
  CHECK(connect_any({&good.info, hole.address()}, socket, soon()) == 0);
  CHECK(connect_any({&closed.info, hole.address()}, socket, soon()) == ETIMEDOUT);
  CHECK(connect_any({hole.address(), &closed.info}, socket, soon()) == ECONNREFUSED);
}
