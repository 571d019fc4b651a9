#pragma once

#include <hwid/transport.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "transport/endpoint.h"

// What a cloud lets a device do and how it answers: the data and the small functions that
// `profile` chooses. What the cloud would refuse is refused here, with its rule in the text,
// because most clouds answer a broken rule by closing the connection without a word.
namespace hwid::transport::cloud {

// What a message says to somebody who waits for an answer.
struct Answer {
  bool matches = false;
  std::string refused = {};             // an answer that says no: why
  int status = 0;                       // and its number, as HTTP has it; 0: it has none
  std::chrono::seconds retry_after{0};  // it is not to be asked again before; 0: not told
};

// How the answer of a request to the cloud itself is told from other messages.
struct AnswerRule {
  std::vector<std::string> filters;  // where it may come
  std::function<Answer(const Message&)> judge;
};

// 0: no limit.
struct Limits {
  std::size_t client_id_bytes = 0;
  std::size_t topic_bytes = 0;
  std::size_t topic_slashes = 0;
  std::size_t payload_bytes = 0;
  std::chrono::seconds keep_alive{0};
  Qos qos = Qos::exactly_once;
  bool mqtt_5 = true;
  bool needs_certificate = false;
};

struct Rules {
  const char* cloud;  // for messages
  Limits limits;
  std::uint16_t https_port;
  const char* mqtts_alpn;  // asked for on port 443 where device.conf has none
  const char* https_alpn;
  const char* websocket_path;
  // Any of these may be null. The checks throw Error.
  void (*check_client)(const DeviceConfig& config, const Endpoint& endpoint);
  void (*check_topic)(const DeviceConfig& config, const std::string& topic);
  void (*check_filter)(const DeviceConfig& config, const std::string& filter);
  std::string (*user_name)(const DeviceConfig& config, const Endpoint& endpoint);
  // Completes a request to the cloud itself; nothing for one to other devices.
  std::optional<AnswerRule> (*answer_rule)(Message& request);
};

extern const Rules kAws;       // aws.cpp
extern const Rules kAzure;     // azure.cpp
extern const Rules kAzureDps;  // azure_dps.cpp
extern const Rules kGeneric;   // generic.cpp
const Rules& rules_of(Profile profile);

// What a cloud sent, as a message can bear it: cut, and in one line without control characters.
std::string shown(const std::string& text);

// At open. Throws Error of kind environment that names the key of device.conf.
void check_config(const DeviceConfig& config, const Endpoint& endpoint);

// Before anything is sent. Throw Error of kind usage.
void check_publish(const DeviceConfig& config, const Message& message);
void check_subscribe(const DeviceConfig& config, const std::string& filter, Qos qos);

// `alpn` of device.conf, else what the cloud wants of `endpoint`.
std::vector<std::string> alpn_of(const DeviceConfig& config, const Endpoint& endpoint);

// Of CONNECT; empty: none.
std::string user_name_of(const DeviceConfig& config, const Endpoint& endpoint);

std::optional<AnswerRule> answer_rule_of(Profile profile, Message& request);

}  // namespace hwid::transport::cloud
