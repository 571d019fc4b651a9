#include "transport/mqtt/publish_packet.h"

#include <cstdint>

namespace hwid::transport::mqtt_client {

namespace {

struct Publish {
  char header = 0;
  std::string_view topic;      // with its length
  std::string_view packet_id;  // two bytes
  std::string_view rest;       // MQTT 5: properties; payload
};

// A variable byte integer (MQTT 5, 1.5.5), which is taken off the front.
std::optional<std::size_t> take_number(std::string_view& bytes) {
  constexpr std::size_t kLongest = 4;
  std::size_t number = 0;
  for (std::size_t i = 0; i < bytes.size() && i < kLongest; ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    number |= static_cast<std::size_t>(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) != 0) continue;
    bytes.remove_prefix(i + 1);
    return number;
  }
  return {};
}

std::string number_bytes(std::size_t number) {
  std::string bytes;
  do {
    const auto low = static_cast<unsigned char>(number & 0x7f);
    number >>= 7;
    bytes += static_cast<char>(number > 0 ? low | 0x80 : low);
  } while (number > 0);
  return bytes;
}

std::optional<Publish> parse(std::string_view packet) {
  if (packet.empty()) return {};
  Publish publish;
  publish.header = packet[0];
  std::string_view rest = packet.substr(1);
  const auto length = take_number(rest);
  if (length != rest.size() || rest.size() < 2) return {};
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(rest[at]); };
  const std::size_t topic = 2 + (static_cast<std::size_t>(byte(0)) << 8 | byte(1));
  if (topic + 2 > rest.size()) return {};
  publish.topic = rest.substr(0, topic);
  publish.packet_id = rest.substr(topic, 2);
  publish.rest = rest.substr(topic + 2);
  return publish;
}

std::string packet_of(const Publish& publish, std::string_view properties) {
  const std::string length = number_bytes(publish.topic.size() + publish.packet_id.size() +
                                          properties.size() + publish.rest.size());
  std::string packet(1, publish.header);
  packet.append(length).append(publish.topic).append(publish.packet_id);
  return packet.append(properties).append(publish.rest);
}

}  // namespace

std::optional<Message> message_in(std::string_view packet) {
  const auto publish = parse(packet);
  if (!publish) return {};
  const auto header = static_cast<unsigned char>(publish->header);
  return Message{std::string(publish->topic.substr(2)), std::string(publish->rest),
                 static_cast<Qos>(header >> 1 & 3), (header & 1) != 0};
}

std::optional<std::string> to_3_1_1(std::string_view packet) {
  auto publish = parse(packet);
  if (!publish) return {};
  const auto properties = take_number(publish->rest);
  if (!properties || *properties > publish->rest.size()) return {};
  publish->rest.remove_prefix(*properties);
  return packet_of(*publish, {});
}

std::optional<std::string> to_5(std::string_view packet) {
  const auto publish = parse(packet);
  if (!publish) return {};
  return packet_of(*publish, std::string_view("\0", 1));
}

}  // namespace hwid::transport::mqtt_client
