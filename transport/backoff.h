#pragma once

#include <chrono>
#include <random>

namespace hwid::transport {

// Full jitter: each wait is uniform in [0, min(cap, base * 2^n)], so that a fleet whose broker
// came back does not return in one wave. Threads: one.
class Backoff {
 public:
  Backoff(std::chrono::milliseconds base, std::chrono::milliseconds cap);

  // The next wait; the ceiling doubles until the cap.
  std::chrono::milliseconds next();
  void reset() noexcept { ceiling_ = base_; }
  std::chrono::milliseconds ceiling() const noexcept { return ceiling_; }

 private:
  std::chrono::milliseconds base_;
  std::chrono::milliseconds cap_;
  std::chrono::milliseconds ceiling_;
  std::mt19937_64 random_;
};

}  // namespace hwid::transport
