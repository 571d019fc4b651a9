// What an IoT policy of AWS can lack.
#include "tools/hwid/doctor/cause_rows.h"

namespace hwid::tool::doctor {
namespace {

constexpr Probes kFromMqtt = Probes::from(Probe::kMqtt);
constexpr auto kBroken = Weight::kBroken;

constexpr char kSeen[] = "{policy}: nothing allows {action} on {resource}";
constexpr char kAdd[] =
    "add a statement with Effect Allow, Action {action}, Resource {arn}; conf/aws-iot-policy.json "
    "is "
    "a whole policy";

constexpr Cause kRows[] = {
    {"policy-unusable", Probe::kPolicy, kBroken, "The IoT policy cannot be read as one",
     "{policy}: {error}",
     "correct what the message names; `aws iot get-policy --policy-name NAME` prints the one that "
     "is "
     "in force",
     kFromMqtt},
    {"policy-without-connect", Probe::kPolicy, kBroken,
     "The IoT policy does not let the device connect", kSeen, kAdd, kFromMqtt},
    {"policy-topic-for-filter", Probe::kPolicy, kBroken,
     "The IoT policy allows to subscribe to a topic, where AWS wants a topic filter",
     "{policy}: iot:Subscribe is allowed on {written}, and not on {resource}",
     "write topicfilter/ where iot:Subscribe has topic/: Resource {arn}", kFromMqtt},
    {"policy-without-subscribe", Probe::kPolicy, kBroken,
     "The IoT policy does not let the device subscribe to its topic", kSeen, kAdd, kFromMqtt},
    {"policy-without-receive", Probe::kPolicy, kBroken,
     "The IoT policy lets the device subscribe, and no message through to it", kSeen, kAdd,
     kFromMqtt},
    {"policy-without-publish", Probe::kPolicy, kBroken,
     "The IoT policy does not let the device publish to its topic", kSeen, kAdd, kFromMqtt},
};

}  // namespace

std::span<const Cause> policy_causes() noexcept { return kRows; }

}  // namespace hwid::tool::doctor
