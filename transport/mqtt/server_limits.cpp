#include "transport/mqtt/server_limits.h"

#include <hwid/transport_error.h>

namespace hwid::transport::mqtt_client {

namespace {

using mqtt::property;

// Fixed header, lengths, packet id.
constexpr std::uint64_t kPacketOverhead = 16;
constexpr std::uint64_t kPropertyOverhead = 8;

}  // namespace

std::uint64_t packet_size(const Message& message) {
  const auto& properties = message.properties;
  std::uint64_t size = kPacketOverhead + message.topic.size() + message.payload.size() +
                       properties.content_type.size() + properties.response_topic.size() +
                       properties.correlation_data.size() + 4 * kPropertyOverhead;
  for (const auto& [name, value] : properties.user)
    size += kPropertyOverhead + name.size() + value.size();
  return size;
}

ServerLimits ServerLimits::of(const mqtt::properties& connack) {
  ServerLimits limits;
  if (connack.contains(property::MAXIMUM_PACKET_SIZE))
    limits.maximum_packet_size = mqtt::get<std::uint32_t>(connack, property::MAXIMUM_PACKET_SIZE);
  if (connack.contains(property::MAXIMUM_QOS))
    limits.maximum_qos = static_cast<Qos>(mqtt::get<std::uint8_t>(connack, property::MAXIMUM_QOS));
  if (connack.contains(property::RETAIN_AVAILABLE))
    limits.retain_available = mqtt::get<std::uint8_t>(connack, property::RETAIN_AVAILABLE) != 0;
  if (connack.contains(property::SERVER_KEEP_ALIVE))
    limits.keep_alive =
        std::chrono::seconds(mqtt::get<std::uint16_t>(connack, property::SERVER_KEEP_ALIVE));
  return limits;
}

std::optional<Error> ServerLimits::refusal(const Message& message) const {
  const auto no = [&](const std::string& why, const std::string& next_step) {
    return Error(ErrorKind::refused, "publish", message.topic, why, next_step);
  };
  if (maximum_packet_size && packet_size(message) > *maximum_packet_size)
    return no(
        "the broker takes packets of at most " + std::to_string(*maximum_packet_size) + " bytes",
        "send less at once");
  if (message.qos > maximum_qos)
    return no("the broker takes QoS " + std::to_string(static_cast<int>(maximum_qos)) + " at most",
              "publish with that");
  if (message.retain && !retain_available)
    return no("the broker keeps no retained messages", "publish without retain");
  return std::nullopt;
}

}  // namespace hwid::transport::mqtt_client
