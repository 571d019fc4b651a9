// A map that a hostile file cannot make grow for ever.
#pragma once

#include <cstddef>
#include <map>
#include <utility>

namespace hwid::tool::audit {

// The first `Cap` distinct keys have a value each; all later ones share one. One thread.
template <typename Key, typename Value, std::size_t Cap>
class Capped {
 public:
  Value& operator[](const Key& key) {
    const auto at = known_.find(key);
    if (at != known_.end()) return at->second;
    if (known_.size() < Cap) return known_[key];
    has_others_ = true;
    return others_;
  }
  const std::map<Key, Value>& known() const noexcept { return known_; }
  bool has_others() const noexcept { return has_others_; }
  const Value& others() const noexcept { return others_; }

 private:
  std::map<Key, Value> known_;
  Value others_{};
  bool has_others_ = false;
};

}  // namespace hwid::tool::audit
