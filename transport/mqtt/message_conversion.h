#pragma once

#include <hwid/transport.h>
#include <mqtt/message.h>

#include <optional>
#include <string_view>

namespace hwid::transport::mqtt_client {

mqtt::const_message_ptr to_paho(const Message& message);
Message from_paho(const mqtt::message& message);

// A PUBLISH of QoS 1 or 2 as it stands on the wire of MQTT 3.1.1 (3.3), complete; empty if it is
// not.
std::optional<Message> from_packet(std::string_view packet);

}  // namespace hwid::transport::mqtt_client
