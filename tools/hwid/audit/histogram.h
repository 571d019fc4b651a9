// Percentiles of very many numbers in constant memory.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace hwid::tool::audit {

// Counts by ranges that grow with the number: each is 1/32 of its lower end wide at most, and
// numbers below 64 have one each. One thread.
class Histogram {
 public:
  void add(std::uint64_t number) noexcept {
    ++counts_[index_of(number)];
    ++count_;
    if (number > largest_) largest_ = number;
  }

  std::uint64_t count() const noexcept { return count_; }
  std::uint64_t largest() const noexcept { return largest_; }

  // The nearest-rank percentile, up to 1/32 too high; 0 if there are no numbers. REQUIRES: 1 to
  // 100.
  std::uint64_t percentile(unsigned percent) const noexcept {
    const std::uint64_t rank = count_ / 100 * percent + (count_ % 100 * percent + 99) / 100;
    std::uint64_t seen = 0;
    for (std::size_t at = 0; at < counts_.size(); ++at) {
      seen += counts_[at];
      if (seen >= rank && seen != 0) {
        const std::uint64_t last = last_of(at);
        return last < largest_ ? last : largest_;
      }
    }
    return largest_;
  }

 private:
  static constexpr unsigned kBits = 5;
  static constexpr std::uint64_t kParts = std::uint64_t{1} << kBits;

  static std::size_t index_of(std::uint64_t number) noexcept {
    if (number < 2 * kParts) return static_cast<std::size_t>(number);
    const unsigned shift = static_cast<unsigned>(std::bit_width(number)) - kBits - 1;
    return static_cast<std::size_t>(shift * kParts + (number >> shift));
  }
  static std::uint64_t last_of(std::size_t index) noexcept {
    if (index < 2 * kParts) return index;
    const std::uint64_t shift = index / kParts - 1;
    return ((index - shift * kParts + 1) << shift) - 1;
  }

  std::array<std::uint64_t, (64 - kBits + 1) * kParts> counts_{};
  std::uint64_t count_ = 0;
  std::uint64_t largest_ = 0;
};

}  // namespace hwid::tool::audit
