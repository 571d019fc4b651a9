// Who is inside a token's code.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <thread>

namespace hwid::ossl {

class Provider;

// The threads that are; those of a forked process are its own. Lock-free, since every signature
// comes by here.
class TokenCalls {
 public:
  explicit TokenCalls(const TokenCalls*) {}  // a forked child begins anew
  // Where this thread is noted: for leave(). nullptr: there is no room, and it is not.
  using Place = std::atomic<std::thread::id>*;
  Place enter() noexcept;
  static void leave(Place place) noexcept;
  bool has_this_thread() const noexcept;

 private:
  static constexpr std::size_t kMostThreads = 256;
  std::array<std::atomic<std::thread::id>, kMostThreads> threads_{};
};

// Says so while it lives. Token modules use libcrypto of the application's context themselves, and
// what they ask for may come back to us.
class TokenCall {
 public:
  explicit TokenCall(Provider& provider);
  ~TokenCall() { TokenCalls::leave(place_); }
  TokenCall(const TokenCall&) = delete;
  TokenCall& operator=(const TokenCall&) = delete;

 private:
  const TokenCalls::Place place_;
};

}  // namespace hwid::ossl
