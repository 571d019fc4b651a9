#include "provider/pkcs11/turn.h"

namespace hwid::pkcs11 {

Turn::Turn(Gate& gate) : gate_(gate) {
  std::unique_lock lock(gate.mutex_);
  const std::thread::id self = std::this_thread::get_id();
  nested_ = gate.inside_ == self;
  if (nested_) return;
  gate.left_.wait(lock, [&] { return !gate.inside_; });
  gate.inside_ = self;
}

Turn::~Turn() {
  if (nested_) return;
  {
    const std::lock_guard lock(gate_.mutex_);
    gate_.inside_.reset();
  }
  gate_.left_.notify_one();
}

}  // namespace hwid::pkcs11
