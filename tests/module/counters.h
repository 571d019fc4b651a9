// Counters that survive _exit and add up over forked children: a shared mapping of a file.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "tests/module/functions.h"

namespace hwid::test {

// Lock-free, so usable from threads, forked children and several processes at once.
class Counters {
 public:
  // Maps `path`, making it if need be; without a path (or if that fails) the counters are memory
  // that is shared with forked children.
  explicit Counters(const char* path);

  void add(std::size_t index) noexcept { cells_[index].fetch_add(1, std::memory_order_relaxed); }
  void add(Function function) noexcept { add(index_of(function)); }
  void add(Tally tally) noexcept { add(static_cast<std::size_t>(tally)); }
  void set(Tally tally, std::uint64_t value) noexcept {
    cells_[static_cast<std::size_t>(tally)].store(value, std::memory_order_relaxed);
  }
  std::uint64_t value(Tally tally) const noexcept { return value(static_cast<std::size_t>(tally)); }
  void raise_to(Tally tally, std::uint64_t value) noexcept;
  std::uint64_t value(std::size_t index) const noexcept {
    return cells_[index].load(std::memory_order_relaxed);
  }
  void reset() noexcept;

  // Lines "C_Sign 12", those that are not zero.
  std::string text() const;

 private:
  using Cell = std::atomic<std::uint64_t>;
  static_assert(Cell::is_always_lock_free);
  Cell* cells_;
};

}  // namespace hwid::test
