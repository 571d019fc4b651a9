#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "transport/cloud/rules.h"

// The words of Azure IoT Hub's topics.
namespace hwid::transport::azure {

constexpr const char* kTwinGet = "$iothub/twin/GET/?$rid=";
constexpr const char* kTwinReport = "$iothub/twin/PATCH/properties/reported/?$rid=";
constexpr const char* kTwinAnswers = "$iothub/twin/res/#";
constexpr const char* kDesired = "$iothub/twin/PATCH/properties/desired/#";
constexpr const char* kMethods = "$iothub/methods/POST/#";
constexpr const char* kMethodResponse = "$iothub/methods/res/";
constexpr const char* kRegistrationAnswers = "$dps/registrations/res/#";

// devices/DEVICE/ or, of DEVICE/MODULE, devices/DEVICE/modules/MODULE/.
std::string device_prefix(const std::string& device);

struct HubAnswer {
  int status = 0;
  std::string request_id;
};

// PREFIX STATUS/?$rid=RID&...; nothing where `topic` is something else.
std::optional<HubAnswer> parse_answer(const std::string& prefix, const std::string& topic);

// Of a topic that says retry-after=N, in seconds from 0 on.
std::optional<std::chrono::seconds> retry_after_of(const std::string& topic);

// How the hub and the provisioning service answer: cloud::Rules::answer_rule.
std::optional<cloud::AnswerRule> answer_rule(Message& request);

}  // namespace hwid::transport::azure
