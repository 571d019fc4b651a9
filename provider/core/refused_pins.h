// PINs that tokens refused, known to this process and to all that are forked from it.
#pragma once

#include <pthread.h>

#include <cstdint>
#include <ctime>
#include <string>

#include "provider/core/bytes.h"

namespace hwid::core {

// Kept as HMACs under a random key, in a page that is shared over fork and in no core dump: eight
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

  // What tells this PIN of this token from others, and nothing more.
  Bytes fingerprint(const std::string& token, ByteView pin) const;

  // A robust mutex: its holder may be killed. Gives up after a while.
  class Lock {
   public:
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    ~Lock();
    bool waited() const noexcept { return waited_; }  // for another holder

   protected:
    Lock(pthread_mutex_t& mutex, time_t patience) noexcept;

   private:
    pthread_mutex_t* held_ = nullptr;
    bool waited_ = false;
  };

  // Held while a PIN is sent to a token: one at a time, so that who waited knows what came of it.
  // Waits up to 30 seconds, and goes on without it then: a token may hang in another process. Two
  // tokens seldom share a lock.
  class Try : public Lock {
   public:
    Try(RefusedPins& pins, const std::string& token) noexcept;
  };

 private:
  struct Shared;
  class TableLock;
  using Digest = std::uint8_t[32];
  void hash(const std::string& token, ByteView pin, Digest& digest) const noexcept;

  Shared* shared_;
};

}  // namespace hwid::core
