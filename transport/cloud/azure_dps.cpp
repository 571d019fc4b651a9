// Azure's Device Provisioning Service as a server: who a device is there, and its topics.
#include "transport/cloud/azure_topics.h"
#include "transport/cloud/rules.h"

namespace hwid::transport {

namespace {

constexpr const char* kApiVersion = "2019-03-31";
constexpr std::size_t kMaxRegistrationId = 128;

void check_topic(const DeviceConfig&, const std::string& topic) {
  if (topic.rfind("$dps/registrations/", 0) != 0)
    throw Error(ErrorKind::usage, "publish", topic,
                "Azure's provisioning service has the topics of registrations only");
}

void check_filter(const DeviceConfig&, const std::string& filter) {
  if (filter != azure::kRegistrationAnswers)
    throw Error(ErrorKind::usage, "subscribe", filter,
                "Azure's provisioning service has the topics of registrations only");
}

std::string user_name(const DeviceConfig& config, const Endpoint&) {
  return config.id_scope + "/registrations/" + config.registration_id +
         "/api-version=" + kApiVersion;
}

}  // namespace

const cloud::Rules cloud::kAzureDps = {
    "Azure's Device Provisioning Service",
    {kMaxRegistrationId, 0, 0, 256 * 1024UL, std::chrono::seconds(1177), Qos::at_least_once, false,
     true},
    443,
    nullptr,
    nullptr,
    "/$iothub/websocket",
    nullptr,
    check_topic,
    check_filter,
    user_name,
    azure::answer_rule};

}  // namespace hwid::transport
