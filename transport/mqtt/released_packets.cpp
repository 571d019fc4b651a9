#include "transport/mqtt/released_packets.h"

#include <algorithm>
#include <functional>

namespace hwid::transport::mqtt_client {

namespace {

constexpr int kIds = 65535;

int distance(int newer, int older) { return (newer - older + kIds) % kIds; }

}  // namespace

// Of a broker that takes the lowest free id, so many rise in a row only while as many are under
// way; the lowest, which it takes next, is then as far below the newest.
ReleasedPackets::ReleasedPackets(int most_under_way) noexcept
    : near_(std::min(most_under_way, kIds / 2)) {}

void ReleasedPackets::forget() noexcept {
  entries_.clear();
  newest_id_ = 0;
  rising_ = 0;
}

void ReleasedPackets::came(int packet_id, bool is_marked) {
  const int step = distance(packet_id, newest_id_);
  const bool is_higher = newest_id_ == 0 || (step > 0 && step < kIds / 2);
  if (is_marked && !is_higher) return;
  rising_ = is_higher ? rising_ + 1 : 0;
  newest_id_ = packet_id;
  std::erase_if(entries_, [&](const Entry& entry) {
    return !is_higher || distance(newest_id_, entry.packet_id) >= near_;
  });
}

void ReleasedPackets::released(int packet_id, std::string_view packet) {
  if (!packet.empty()) entries_.push_back(entry(packet_id, packet));
}

bool ReleasedPackets::has(int packet_id, std::string_view packet) const {
  return rising_ > near_ && !packet.empty() && distance(newest_id_, packet_id) < near_ &&
         std::ranges::find(entries_, entry(packet_id, packet)) != entries_.end();
}

ReleasedPackets::Entry ReleasedPackets::entry(int packet_id, std::string_view packet) {
  return {packet_id, std::hash<std::string_view>{}(packet.substr(1))};
}

}  // namespace hwid::transport::mqtt_client
