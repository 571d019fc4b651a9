#pragma once

#include <hwid/transport.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace hwid::transport::mqtt_client {

// One record of the spool's journal, in CBOR.
struct SpoolRecord {
  enum class Type { accepted, sent, released, finished, requeued };

  Type type = Type::accepted;
  std::uint64_t id = 0;
  Message message;     // accepted
  bool keep = true;    // accepted: false: only to complete what is in flight
  int packet_id = 0;   // sent
  std::string key;     // sent
  std::string packet;  // sent

  std::string encode() const;
  // Throws Error: not a record of this version.
  static SpoolRecord decode(std::string_view bytes);
};

}  // namespace hwid::transport::mqtt_client
