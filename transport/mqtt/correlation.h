#pragma once

#include <hwid/transport.h>

#include <nlohmann/json.hpp>
#include <string>

namespace hwid::transport::mqtt_client {

// What ties an answer to its request; Transport::request() has the rules.
class Correlation {
 public:
  // Completes `request`: with MQTT 5 it gets a response topic and correlation data where it has
  // none. Throws Error of kind usage where nothing could tell the answer.
  Correlation(Message& request, MqttVersion version);

  const std::string& response_topic() const noexcept { return response_topic_; }
  bool matches(const Message& answer) const;

 private:
  std::string response_topic_;
  nlohmann::json request_id_;     // null: the payload has none
  std::string correlation_data_;  // empty: MQTT 3.1.1
};

}  // namespace hwid::transport::mqtt_client
