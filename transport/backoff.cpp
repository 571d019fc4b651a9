#include "transport/backoff.h"

#include <algorithm>

namespace hwid::transport {

Backoff::Backoff(std::chrono::milliseconds base, std::chrono::milliseconds cap)
    : base_(base), cap_(cap), ceiling_(base), random_(std::random_device{}()) {}

std::chrono::milliseconds Backoff::next() {
  std::uniform_int_distribution<std::chrono::milliseconds::rep> wait(0, ceiling_.count());
  const std::chrono::milliseconds result(wait(random_));
  ceiling_ = std::min(cap_, ceiling_ * 2);
  return result;
}

}  // namespace hwid::transport
