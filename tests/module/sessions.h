// Which sessions are open, without a lock that a fork could catch.
#pragma once

#include <p11-kit/pkcs11.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <vector>

namespace hwid::test {

// The open sessions of this process. Thread-safe and lock-free. Handle 0 is never a session
// (CK_INVALID_HANDLE).
class Sessions {
 public:
  static constexpr std::size_t kCapacity = 1024;

  // Takes a place for a session to be opened; false if `limit` are open or opening.
  bool reserve(std::size_t limit) noexcept;
  void give_back() noexcept { open_.fetch_sub(1); }
  void opened(CK_SESSION_HANDLE session, CK_SLOT_ID slot) noexcept;  // uses up a reserved place
  void closed(CK_SESSION_HANDLE session) noexcept;
  void closed_slot(CK_SLOT_ID slot) noexcept;
  void closed_all() noexcept;
  std::size_t open() const noexcept { return open_.load(); }
  std::vector<CK_SESSION_HANDLE> all() const;

  enum class Use { kFree, kBusy, kUnknown };
  // Marks the session as in use by a call; kBusy: another call is using it, nothing is marked.
  Use enter(CK_SESSION_HANDLE session) noexcept;
  void leave(CK_SESSION_HANDLE session) noexcept;
  void leave_all() noexcept;  // in a forked child: its parent's other threads are not here

  // The real module's turn with a session: waits until no other call with its handle is there. A
  // module need not withstand two threads in one session, and SoftHSM does not; they meet where
  // handles begin anew under calls that hold an old one.
  class Turn {
   public:
    Turn(Sessions& sessions, CK_SESSION_HANDLE session) noexcept;
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    std::atomic<bool>& taken_;
  };

 private:
  struct Place {
    std::atomic<CK_SESSION_HANDLE> session{0};
    std::atomic<CK_SLOT_ID> slot{0};
    std::atomic<bool> busy{false};
  };
  Place* find(CK_SESSION_HANDLE session) noexcept;
  void release(Place& place) noexcept;

  std::array<Place, kCapacity> places_;
  // By handle and not by place: a handle is known to its opener before it has a place here.
  std::array<std::atomic<bool>, kCapacity> turns_{};
  std::atomic<std::size_t> open_{0};
};

}  // namespace hwid::test
