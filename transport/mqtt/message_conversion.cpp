#include "transport/mqtt/message_conversion.h"

namespace hwid::transport::mqtt_client {

namespace {

using mqtt::property;

mqtt::properties properties_of(const Properties& ours) {
  mqtt::properties theirs;
  if (!ours.content_type.empty()) theirs.add({property::CONTENT_TYPE, ours.content_type});
  if (!ours.response_topic.empty()) theirs.add({property::RESPONSE_TOPIC, ours.response_topic});
  if (!ours.correlation_data.empty())
    theirs.add({property::CORRELATION_DATA, ours.correlation_data});
  if (ours.message_expiry)
    theirs.add({property::MESSAGE_EXPIRY_INTERVAL,
                static_cast<std::int32_t>(ours.message_expiry->count())});
  for (const auto& [name, value] : ours.user) theirs.add({property::USER_PROPERTY, name, value});
  return theirs;
}

std::string text_of(const mqtt::properties& theirs, property::code code) {
  return theirs.contains(code) ? mqtt::get<std::string>(theirs, code) : std::string();
}

Properties properties_of(const mqtt::properties& theirs) {
  Properties ours;
  ours.content_type = text_of(theirs, property::CONTENT_TYPE);
  ours.response_topic = text_of(theirs, property::RESPONSE_TOPIC);
  ours.correlation_data = text_of(theirs, property::CORRELATION_DATA);
  if (theirs.contains(property::MESSAGE_EXPIRY_INTERVAL))
    ours.message_expiry =
        std::chrono::seconds(mqtt::get<std::uint32_t>(theirs, property::MESSAGE_EXPIRY_INTERVAL));
  const std::size_t count = theirs.count(property::USER_PROPERTY);
  for (std::size_t i = 0; i < count; ++i) {
    auto pair = mqtt::get<mqtt::string_pair>(theirs, property::USER_PROPERTY, i);
    ours.user.emplace_back(std::move(std::get<0>(pair)), std::move(std::get<1>(pair)));
  }
  return ours;
}

}  // namespace

mqtt::const_message_ptr to_paho(const Message& message) {
  return mqtt::message::create(message.topic, message.payload, static_cast<int>(message.qos),
                               message.retain, properties_of(message.properties));
}

Message from_paho(const mqtt::message& message) {
  return {message.get_topic(), message.get_payload_str(), static_cast<Qos>(message.get_qos()),
          message.is_retained(), properties_of(message.get_properties())};
}

}  // namespace hwid::transport::mqtt_client
