#include "transport/mqtt/message_check.h"

#include <hwid/transport_error.h>

#include <cstdint>
#include <limits>

#include "transport/cloud/rules.h"
#include "transport/mqtt/server_limits.h"
#include "transport/topic.h"

namespace hwid::transport::mqtt_client {

namespace {

constexpr std::uint64_t kMaxPacketBytes = 268435455;  // MQTT 5, 1.5.5

void check_properties(const std::string& topic, const Properties& properties) {
  const auto refuse = [&](const std::string& why, const std::string& next_step = {}) {
    throw Error(ErrorKind::usage, "publish", topic, why, next_step);
  };
  const auto check_text = [&](const std::string& name, const std::string& value) {
    if (!is_mqtt_text(value))
      refuse(name + " is longer than 65535 bytes, or no UTF-8, or contains a zero byte",
             "send such data in the payload");
  };
  check_text("content_type", properties.content_type);
  check_text("response_topic", properties.response_topic);
  if (properties.response_topic.find_first_of("+#") != std::string::npos)
    refuse("response_topic contains + or #, which are for subscriptions only");
  if (properties.correlation_data.size() > kMaxMqttTextBytes)
    refuse("correlation_data is longer than 65535 bytes");
  for (const auto& [name, value] : properties.user) {
    check_text("the name of a user property", name);
    check_text("the value of a user property", value);
  }
  constexpr auto kLongest = std::numeric_limits<std::uint32_t>::max();
  if (properties.message_expiry &&
      (properties.message_expiry->count() < 0 || properties.message_expiry->count() > kLongest))
    refuse("message_expiry is not between 0 and 4294967295 seconds");
}

}  // namespace

void check_message(const Message& message, const DeviceConfig& config) {
  check_topic_name(message.topic);
  if (config.mqtt_version == MqttVersion::v3_1_1 && !message.properties.empty())
    throw Error(ErrorKind::usage, "publish", message.topic, "MQTT 3.1.1 has no properties",
                "set mqtt-version = 5");
  if (packet_size(message) > kMaxPacketBytes)
    throw Error(ErrorKind::usage, "publish", message.topic,
                "the message has " + std::to_string(packet_size(message)) +
                    " bytes, and an MQTT packet at most " + std::to_string(kMaxPacketBytes),
                "send it in parts");
  check_properties(message.topic, message.properties);
  cloud::check_publish(config, message);
}

}  // namespace hwid::transport::mqtt_client
