// Whether an IoT policy of AWS lets the device do what device.conf says.
#include <nlohmann/json.hpp>
#include <regex>
#include <stdexcept>

#include "tools/hwid/aws/iot_policy.h"
#include "tools/hwid/doctor/probes.h"
#include "tools/hwid/files.h"

namespace hwid::tool::doctor {
namespace {

// The policy itself: `aws iot get-policy` has it as a text inside of its answer.
std::string document_of(const std::string& text) {
  const auto answer = nlohmann::json::parse(text, nullptr, false);
  if (!answer.is_object() || !answer.contains("policyDocument")) return text;
  const auto& document = answer["policyDocument"];
  return document.is_string() ? document.get<std::string>() : document.dump();
}

// Where the device is: the policy's own region and account, which it must be in.
struct Whereabouts {
  std::string region = "REGION";
  std::string account = "ACCOUNT";
};

Whereabouts whereabouts_of(const std::string& document) {
  static const std::regex arn("arn:aws:iot:([a-z0-9-]+):([0-9]+):");
  std::smatch found;
  if (!std::regex_search(document, found, arn)) return {};
  return {found[1], found[2]};
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
        where_(whereabouts_of(document)),
        policy_(aws::IotPolicy::parse(document, where_.region, where_.account)),
        variables_{{"iot:ClientId", device_.client_id},
                   {"iot:Connection.Thing.ThingName", device_.client_id},
                   {"iot:Connection.Thing.IsAttached", "true"}} {}

  void run() {
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
      examination_.passed("policy " + examination_.policy);
  }

 private:
  bool allows(const std::string& action, const std::string& resource) const {
    return policy_.allows(action, resource, variables_);
  }

  void require(const char* id, const std::string& action, const std::string& resource,
               const std::string& written = "") {
    if (allows(action, resource)) return;
    examination_.add(
        id,
        {{"policy", examination_.policy},
         {"action", action},
         {"resource", resource},
         {"written", written},
         {"arn", "arn:aws:iot:" + where_.region + ":" + where_.account + ":" + resource}},
        kNoBackend);
  }

  Examination& examination_;
  const transport::DeviceConfig& device_;
  const Whereabouts where_;
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
