#pragma once

#include <hwid/transport.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "transport/cloud/rules.h"

namespace hwid::transport::mqtt_client {

// What ties an answer to its request; Transport::request() has the rules.
class Correlation {
 public:
  // Completes `request`: with MQTT 5 it gets a response topic and correlation data where it has
  // none, and a request to the cloud itself what its profile says. Throws Error of kind usage where
  // nothing could tell the answer.
  Correlation(Message& request, const DeviceConfig& config);

  // Where the answer may come.
  std::vector<std::string> filters() const;
  cloud::Answer judge(const Message& message) const;

 private:
  std::optional<cloud::AnswerRule> rule_;  // the cloud's; the rest is for other devices' answers
  std::string response_topic_;
  nlohmann::json request_id_;     // null: the payload has none
  std::string correlation_data_;  // empty: MQTT 3.1.1
};

}  // namespace hwid::transport::mqtt_client
