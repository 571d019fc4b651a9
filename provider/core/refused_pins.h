// PINs that tokens refused, known to this process and to all that are forked from it.
#pragma once

#include <cstdint>
#include <string>

#include "provider/core/bytes.h"

namespace hwid::core {

// Kept as HMACs under a random key of the process, in a page that is shared over fork: eight
// workers with a wrong PIN cost one try, whether they were forked before it or after. Thread-safe,
// never destroyed. The oldest of 64 is forgotten for a new one.
class RefusedPins {
 public:
  RefusedPins() noexcept;
  RefusedPins(const RefusedPins&) = delete;
  RefusedPins& operator=(const RefusedPins&) = delete;

  // `token` identifies the token.
  void remember(const std::string& token, ByteView pin) noexcept;
  bool knows(const std::string& token, ByteView pin) noexcept;
  void forget(const std::string& token) noexcept;  // it accepted one: its PIN was changed

  // Held while a PIN is tried: one at a time, so that who waited knows of the refusal. Waits up to
  // 30 seconds, and goes on without it then: a token may hang in another process.
  class Try {
   public:
    explicit Try(RefusedPins& pins) noexcept;
    ~Try();
    Try(const Try&) = delete;
    Try& operator=(const Try&) = delete;

   private:
    RefusedPins& pins_;
    bool locked_;
  };

 private:
  struct Shared;
  using Digest = std::uint8_t[32];
  void hash(const std::string& token, ByteView pin, Digest& digest) const noexcept;

  Shared* shared_;
  std::uint8_t key_[32];
};

}  // namespace hwid::core
