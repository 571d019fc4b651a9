// A fuzzer's input, read from the front.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "provider/core/bytes.h"

namespace hwid::fuzz {

// Never fails: what is not there reads as zero.
class BytesReader {
 public:
  explicit BytesReader(core::ByteView bytes) noexcept : rest_(bytes) {}

  bool empty() const noexcept { return rest_.empty(); }
  std::uint8_t byte() noexcept {
    const core::ByteView one = take(1);
    return one.empty() ? 0 : one[0];
  }
  std::uint16_t number16() noexcept {  // little-endian
    const unsigned low = byte();
    return static_cast<std::uint16_t>(low | static_cast<unsigned>(byte()) << 8);
  }
  core::ByteView take(std::size_t most) noexcept {
    const core::ByteView front = rest_.first(std::min(most, rest_.size()));
    rest_ = rest_.subspan(front.size());
    return front;
  }

 private:
  core::ByteView rest_;
};

}  // namespace hwid::fuzz
