// One thread at a time, without a lock that is held meanwhile.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

namespace hwid::pkcs11 {

// The others wait until it is done. The thread whose turn it is may fork meanwhile, or come back
// to us (in a passphrase callback, in a module's C_Initialize): that turn is nested() and does not
// wait.
class Turn {
 public:
  class Gate {
    friend class Turn;
    std::mutex mutex_;
    std::condition_variable left_;
    std::optional<std::thread::id> inside_;
  };
  explicit Turn(Gate& gate);  // waits
  ~Turn();
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  bool nested() const noexcept { return nested_; }  // this thread is inside already

 private:
  Gate& gate_;
  bool nested_ = false;
};

}  // namespace hwid::pkcs11
