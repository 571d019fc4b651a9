#pragma once

#include <hwid/transport.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "transport/cloud/rules.h"

namespace hwid::transport::mqtt_client {

// A message that may be an answer; its JSON is looked at once, however many requests wait.
class Arrival {
 public:
  explicit Arrival(const Message& message) : message_(message) {}
  const Message& message() const noexcept { return message_; }
  const nlohmann::json& request_id() const;  // null: it has none

 private:
  const Message& message_;
  mutable std::optional<nlohmann::json> request_id_;
};

// What ties an answer to its request; Transport::request() has the rules. A requestId is looked for
// in payloads of up to 16 MiB that are nested no deeper than kDeepestForeignJson.
class Correlation {
 public:
  // Completes `request`: with MQTT 5 it gets a response topic and correlation data where it has
  // none, and a request to the cloud itself what its profile says. Throws Error of kind usage where
  // nothing could tell the answer.
  Correlation(Message& request, const DeviceConfig& config);

  // Where the answer may come.
  std::vector<std::string> filters() const;
  cloud::Answer judge(const Arrival& arrival) const;

 private:
  std::optional<cloud::AnswerRule> rule_;  // the cloud's; the rest is for other devices' answers
  std::string response_topic_;
  nlohmann::json request_id_;     // null: the payload has none
  std::string correlation_data_;  // empty: MQTT 3.1.1
};

}  // namespace hwid::transport::mqtt_client
