#pragma once

#include <hwid/transport.h>
#include <mqtt/properties.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace hwid::transport::mqtt_client {

// Of its PUBLISH: not less than that, and hardly more.
std::uint64_t packet_size(const Message& message);

// What an MQTT 5 broker says in its CONNACK about what it takes (MQTT 5, 3.2.2.3); the defaults are
// those of a broker that says nothing. Its receive maximum is seen to by Paho; topic aliases are
// not used in either direction.
struct ServerLimits {
  std::optional<std::uint32_t> maximum_packet_size;
  Qos maximum_qos = Qos::exactly_once;
  bool retain_available = true;
  std::optional<std::chrono::seconds> keep_alive;  // to be used instead of ours

  static ServerLimits of(const mqtt::properties& connack);

  // Why the broker would not take a message; it would end the connection.
  std::optional<Error> refusal(const Message& message) const;
};

}  // namespace hwid::transport::mqtt_client
