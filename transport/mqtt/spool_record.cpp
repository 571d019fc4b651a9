#include "transport/mqtt/spool_record.h"

#include <hwid/transport_error.h>

#include <nlohmann/json.hpp>
#include <vector>

namespace hwid::transport::mqtt_client {

namespace {

using nlohmann::json;

json binary(const std::string& bytes) {
  return json::binary(std::vector<std::uint8_t>(bytes.begin(), bytes.end()));
}

std::string text(const json& binary) {
  const auto& bytes = binary.get_binary();
  return {bytes.begin(), bytes.end()};
}

json encode_message(const Message& message) {
  const auto& properties = message.properties;
  json user = json::array();
  for (const auto& [name, value] : properties.user) user.push_back({name, value});
  return {message.topic,
          binary(message.payload),
          static_cast<int>(message.qos),
          message.retain,
          properties.content_type,
          properties.response_topic,
          binary(properties.correlation_data),
          properties.message_expiry ? json(properties.message_expiry->count()) : json(nullptr),
          user};
}

Message decode_message(const json& from) {
  Message message;
  message.topic = from.at(0).get<std::string>();
  message.payload = text(from.at(1));
  const int qos = from.at(2).get<int>();
  if (qos < 0 || qos > 2) throw std::out_of_range("QoS");
  message.qos = static_cast<Qos>(qos);
  message.retain = from.at(3).get<bool>();
  auto& properties = message.properties;
  properties.content_type = from.at(4).get<std::string>();
  properties.response_topic = from.at(5).get<std::string>();
  properties.correlation_data = text(from.at(6));
  if (!from.at(7).is_null())
    properties.message_expiry = std::chrono::seconds(from.at(7).get<std::int64_t>());
  for (const auto& pair : from.at(8))
    properties.user.emplace_back(pair.at(0).get<std::string>(), pair.at(1).get<std::string>());
  return message;
}

}  // namespace

std::string SpoolRecord::encode() const {
  json record = {static_cast<int>(type), id};
  if (type == Type::accepted) {
    record.push_back(keep);
    record.push_back(encode_message(message));
  }
  if (type == Type::sent) {
    record.push_back(packet_id);
    record.push_back(key);
    record.push_back(binary(packet));
  }
  std::string bytes;
  json::to_cbor(record, bytes);
  return bytes;
}

SpoolRecord SpoolRecord::decode(std::string_view bytes) {
  try {
    const auto from = json::from_cbor(bytes.begin(), bytes.end());
    SpoolRecord record;
    const int type = from.at(0).get<int>();
    if (type < 0 || type > static_cast<int>(Type::requeued)) throw std::out_of_range("type");
    record.type = static_cast<Type>(type);
    record.id = from.at(1).get<std::uint64_t>();
    if (record.type == Type::accepted) {
      record.keep = from.at(2).get<bool>();
      record.message = decode_message(from.at(3));
    }
    if (record.type == Type::sent) {
      record.packet_id = from.at(2).get<int>();
      record.key = from.at(3).get<std::string>();
      record.packet = text(from.at(4));
    }
    return record;
  } catch (const std::exception& error) {
    throw Error(ErrorKind::environment, "read the spool", "",
                std::string("a record is not understood: ") + error.what(),
                "move the spool's journal away");
  }
}

}  // namespace hwid::transport::mqtt_client
