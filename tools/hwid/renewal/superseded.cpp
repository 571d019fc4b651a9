#include "tools/hwid/renewal/superseded.h"

#include <algorithm>
#include <map>

namespace hwid::tool::renewal {

void note_superseded(State& state,
                     const std::vector<transport::CredentialStore::Generation>& generations,
                     unsigned current, std::time_t switched) {
  const std::time_t now = std::time(nullptr);
  std::map<unsigned, std::time_t> noted;
  for (const auto& generation : generations) {
    if (generation.number >= current) continue;
    const auto before = state.superseded.find(generation.number);
    // A clock that was ahead must not keep it for longer.
    noted[generation.number] =
        std::min(before == state.superseded.end() ? switched : before->second, now);
  }
  state.superseded = std::move(noted);
}

bool is_long_superseded(const State& state, unsigned generation, std::chrono::seconds keep_old) {
  const auto since = state.superseded.find(generation);
  return since != state.superseded.end() && std::time(nullptr) - since->second >= keep_old.count();
}

}  // namespace hwid::tool::renewal
