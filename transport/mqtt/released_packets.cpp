#include "transport/mqtt/released_packets.h"

#include <algorithm>
#include <functional>

namespace hwid::transport::mqtt_client {

void ReleasedPackets::came(int packet_id) noexcept {
  constexpr int kNearlyAll = 60000;  // below the id before it: it began anew
  const bool is_higher = packet_id > newest_id_ || newest_id_ - packet_id > kNearlyAll;
  rising_ = is_higher ? rising_ + 1 : 0;
  newest_id_ = packet_id;
}

void ReleasedPackets::released(int packet_id, std::string_view packet) {
  constexpr std::size_t kMost = 1024;
  if (packet.empty()) return;
  entries_.push_back(entry(packet_id, packet));
  if (entries_.size() > kMost) entries_.pop_front();
}

bool ReleasedPackets::has(int packet_id, std::string_view packet) const {
  constexpr int kEnough = 4;  // to tell how the broker numbers
  return rising_ >= kEnough && !packet.empty() &&
         std::ranges::find(entries_, entry(packet_id, packet)) != entries_.end();
}

ReleasedPackets::Entry ReleasedPackets::entry(int packet_id, std::string_view packet) {
  return {packet_id, std::hash<std::string_view>{}(packet.substr(1))};
}

}  // namespace hwid::transport::mqtt_client
