#pragma once

#include <hwid/transport.h>

#include <optional>
#include <string>
#include <string_view>

namespace hwid::transport::mqtt_client {

// PUBLISH packets of QoS 1 or 2 as they stand on the wire (MQTT 3.1.1 and 5, 3.3), which is how
// Paho keeps them. Each function gives nothing for what is none.

// Of MQTT 3.1.1.
std::optional<Message> message_in(std::string_view packet);

// The same packet in the other version's format: without its properties, or with none.
std::optional<std::string> to_3_1_1(std::string_view packet);
std::optional<std::string> to_5(std::string_view packet);

}  // namespace hwid::transport::mqtt_client
