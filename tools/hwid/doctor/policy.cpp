// Whether an IoT policy of AWS lets the device do what device.conf says.
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>

#include "tools/hwid/aws/iot_policy.h"
#include "tools/hwid/doctor/probes.h"
#include "tools/hwid/files.h"
#include "tools/openssl_conf/known_keys.h"

namespace hwid::tool::doctor {
namespace {

using nlohmann::json;

// No policy is nested so deep; what is deeper would take the stack of who prints it.
bool is_shallow(int depth, json::parse_event_t, json&) {
  constexpr int kDeepest = 32;
  if (depth > kDeepest) throw std::runtime_error("IoT policy: it is nested too deep");
  return true;
}

// The policy itself: `aws iot get-policy` has it as a text inside of its answer.
std::string document_of(const std::string& text) {
  const json answer = json::parse(text, is_shallow, false);
  if (!answer.is_object() || !answer.contains("policyDocument")) return text;
  const json& document = answer["policyDocument"];
  return document.is_string() ? document.get<std::string>() : document.dump();
}

// NAME-ats.iot.REGION.amazonaws.com. Empty: a name of the user's own, which says nothing.
std::string region_of(const std::string& endpoint) {
  constexpr std::string_view kBefore = ".iot.";
  const auto end = endpoint.find(".amazonaws.com");
  const auto begin = endpoint.rfind(kBefore, end);
  if (end == std::string::npos || begin == std::string::npos) return "";
  return endpoint.substr(begin + kBefore.size(), end - begin - kBefore.size());
}

// A topic that the filter is for: that of a message which comes by it.
std::string topic_of(const std::string& filter) {
  std::string topic;
  for (const char c : filter) topic += c == '+' ? "x" : c == '#' ? "x/y" : std::string(1, c);
  return topic;
}

class PolicyCheck {
 public:
  PolicyCheck(Examination& examination, const std::string& document)
      : examination_(examination),
        device_(*examination.device),
        policy_(aws::IotPolicy::parse_in_force(document, region_of(device_.endpoint))),
        variables_{{"iot:ClientId", device_.client_id},
                   {"iot:Connection.Thing.ThingName", device_.client_id},
                   {"iot:Connection.Thing.IsAttached", "true"}} {}

  void run() {
    if (is_misspelt()) return;
    require("policy-without-connect", "iot:Connect", "client/" + device_.client_id);
    if (const std::string& filter = device_.topics_subscribe; !filter.empty()) {
      const bool is_as_topic = allows("iot:Subscribe", "topic/" + filter);
      require(is_as_topic ? "policy-topic-for-filter" : "policy-without-subscribe", "iot:Subscribe",
              "topicfilter/" + filter, "topic/" + filter);
      require("policy-without-receive", "iot:Receive", "topic/" + topic_of(filter));
    }
    if (!device_.topics_publish.empty())
      require("policy-without-publish", "iot:Publish", "topic/" + device_.topics_publish);
    if (!examination_.is_silenced(Probe::kMqtt, kNoBackend))
      examination_.passed("policy " + examination_.policy + doubts());
  }

 private:
  bool allows(const std::string& action, const std::string& resource) const {
    return policy_.allows(action, resource, variables_);
  }

  // Others are AWS's business: it has more actions and resources than a device needs here.
  bool is_misspelt() {
    for (const aws::IotPolicy::Unknown& unknown : policy_.unknown()) {
      const auto meant = openssl_conf::nearest(unknown.written, unknown.known);
      if (!meant) continue;
      const std::string error =
          "the " + unknown.what + " " + unknown.written + " is unknown, and near to " + *meant;
      examination_.add("policy-unusable", {{"policy", examination_.policy}, {"error", error}},
                       kNoBackend);
      return true;
    }
    return false;
  }

  std::string doubts() const {
    std::string text;
    for (const std::string& one : policy_.not_evaluated(variables_))
      text += (text.empty() ? " (not evaluated: " : ", ") + one;
    return text.empty() ? "" : text + ")";
  }

  void require(const char* id, const std::string& action, const std::string& resource,
               const std::string& written = "") {
    if (allows(action, resource)) return;
    examination_.add(id,
                     {{"policy", examination_.policy},
                      {"action", action},
                      {"resource", resource},
                      {"written", written},
                      {"arn", policy_.arn_of(resource)}},
                     kNoBackend);
  }

  Examination& examination_;
  const transport::DeviceConfig& device_;
  const aws::IotPolicy policy_;
  const aws::Variables variables_;
};

}  // namespace

void probe_policy(Examination& examination) {
  if (examination.policy.empty() || !examination.device) return;
  try {
    PolicyCheck(examination, document_of(read_file(examination.policy))).run();
  } catch (const std::runtime_error& error) {  // a core::Error is one as well
    examination.add("policy-unusable", {{"policy", examination.policy}, {"error", error.what()}},
                    kNoBackend);
  }
}

}  // namespace hwid::tool::doctor
