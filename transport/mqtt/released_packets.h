#pragma once

#include <cstddef>
#include <deque>
#include <string_view>

namespace hwid::transport::mqtt_client {

// Received PUBLISH packets of QoS 2 that the broker has released (PUBREL). mosquitto 2.0 forgets
// that when it is started twice on its saved state, and the PUBCOMP has not come: it sends the
// PUBLISH again, marked as a duplicate. MQTT lets a client take that for a new message, and hand it
// over once more. It is none where the broker counts its packet ids up, and the id is one of the
// newest; what a broker sends that takes free ids at once is new, and is never taken for a
// duplicate: a message that comes twice is better than one that is lost.
//
// Used by one thread at a time.
class ReleasedPackets {
 public:
  // `most_under_way`: so many messages may be sent and not confirmed at once (Receive Maximum).
  // More than that with rising ids show that the broker counts them up, and no other id than one of
  // the last so many can come again.
  explicit ReleasedPackets(int most_under_way = 64) noexcept;
  // The session is over, and ids begin anew.
  void forget() noexcept;
  // A packet came. One that is marked as a duplicate is the first that one sees where the
  // connection broke before; below the newest it is one that came before, and says nothing.
  void came(int packet_id, bool is_marked);
  // A packet that came was released. On the wire, as Paho keeps it: its fixed header first.
  void released(int packet_id, std::string_view packet);
  // Whether `packet`, which is marked as a duplicate, was released.
  bool has(int packet_id, std::string_view packet) const;

 private:
  struct Entry {
    int packet_id;
    std::size_t hash;  // without the fixed header's first byte, which has the mark
    bool operator==(const Entry&) const = default;
  };
  static Entry entry(int packet_id, std::string_view packet);

  int near_;
  std::deque<Entry> entries_;
  int newest_id_ = 0;
  int rising_ = 0;  // so many ids came one above the other
};

}  // namespace hwid::transport::mqtt_client
