#include "provider/ossl/token_call.h"

#include <algorithm>
#include <functional>

#include "provider/ossl/provider.h"

namespace hwid::ossl {

// Each thread begins to look at another place, so that few meet.
TokenCalls::Place TokenCalls::enter() noexcept {
  const std::thread::id self = std::this_thread::get_id();
  const std::size_t start = std::hash<std::thread::id>{}(self);
  for (std::size_t i = 0; i < kMostThreads; ++i) {
    std::atomic<std::thread::id>& place = threads_[(start + i) % kMostThreads];
    std::thread::id nobody;
    if (place.compare_exchange_strong(nobody, self, std::memory_order_relaxed)) return &place;
  }
  return nullptr;
}

void TokenCalls::leave(Place place) noexcept {
  if (place != nullptr) place->store({}, std::memory_order_relaxed);
}

bool TokenCalls::has_this_thread() const noexcept {
  const std::thread::id self = std::this_thread::get_id();
  return std::ranges::any_of(threads_, [self](const std::atomic<std::thread::id>& place) {
    return place.load(std::memory_order_relaxed) == self;
  });
}

TokenCall::TokenCall(Provider& provider) : place_(provider.token_calls().enter()) {}

}  // namespace hwid::ossl
