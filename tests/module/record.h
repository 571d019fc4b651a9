// The calls of this process in their order, for tests that count calls by their place.
#pragma once

#include <p11-kit/pkcs11.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <string>

#include "tests/module/functions.h"

namespace hwid::test {

// Thread-safe and lock-free; keeps the first kCapacity calls since reset().
class Record {
 public:
  static constexpr std::size_t kCapacity = 4096;

  std::size_t begin(Function function) noexcept;
  void end(std::size_t place, CK_RV rv) noexcept;
  void reset() noexcept { next_ = 0; }

  // Lines "C_Sign CKR_OK", in the order in which the calls began.
  std::string text() const;

 private:
  struct Call {
    std::atomic<Function> function{Function::kInitialize};
    std::atomic<CK_RV> rv{CKR_OK};
  };
  std::array<Call, kCapacity> calls_;
  std::atomic<std::size_t> next_{0};
};

}  // namespace hwid::test
