// Azure IoT Hub: its rules. "Communicate with an IoT hub using the MQTT protocol" in Microsoft's
// documentation. Its topics as programs use them are in azure_topics.cpp.
#include <hwid/azure.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "transport/cloud/azure_topics.h"
#include "transport/cloud/rules.h"
#include "transport/cloud/url_encoding.h"
#include "transport/foreign_json.h"
#include "transport/random_name.h"
#include "transport/scheme_options.h"
#include "transport/topic.h"

namespace hwid::transport {

namespace {

using azure::device_prefix;
using nlohmann::json;

constexpr const char* kApiVersion = "2021-04-12";
constexpr std::size_t kMaxPartBytes = 128;

bool begins_with(const std::string& text, const std::string& start) {
  return text.rfind(start, 0) == 0;
}

void check_name(const DeviceConfig& config, const std::string& name) {
  constexpr std::string_view kAllowed = "-:.%_*?!(),=@;$'";
  const bool good = !name.empty() && name.size() <= kMaxPartBytes &&
                    std::all_of(name.begin(), name.end(), [&](unsigned char c) {
                      return (c < 128 && std::isalnum(c) != 0) ||
                             kAllowed.find(static_cast<char>(c)) != std::string_view::npos;
                    });
  if (!good)
    refuse_option(config, "client-id",
                  "a device id of Azure IoT Hub has 1 to 128 ASCII letters, digits and "
                  "- : . % _ * ? ! ( ) , = @ ; $ ' (+ and # cannot stand in its topics)",
                  "use the device id, or DEVICE/MODULE for a module");
}

void check_client(const DeviceConfig& config, const Endpoint& endpoint) {
  const auto slash = config.client_id.find('/');
  check_name(config, config.client_id.substr(0, slash));
  if (slash != std::string::npos) check_name(config, config.client_id.substr(slash + 1));
  if (endpoint.scheme == "https")
    refuse_option(config, "endpoint", "this transport does not speak Azure IoT Hub's HTTPS",
                  "use mqtts://HUB.azure-devices.net");
  if (endpoint.scheme == "mqtts" && endpoint.port == 443)
    refuse_option(config, "endpoint", "Azure IoT Hub takes only WebSockets on port 443",
                  "use port 8883, or wss://");
}

void check_topic(const DeviceConfig& config, const std::string& topic) {
  const std::string events = device_prefix(config.client_id) + "messages/events/";
  for (const std::string& allowed :
       {events, std::string(azure::kTwinGet), std::string(azure::kTwinReport),
        std::string(azure::kMethodResponse), std::string("$iothub/credentials/POST/")})
    if (begins_with(topic, allowed)) return;
  throw Error(ErrorKind::usage, "publish", topic,
              "Azure IoT Hub closes the connection of a device that publishes to topics other "
              "than its own",
              "publish to " + events + ", e.g. with hwid/azure.h");
}

void check_filter(const DeviceConfig& config, const std::string& filter) {
  const std::string prefix = device_prefix(config.client_id);
  for (const std::string& allowed :
       {prefix + "messages/devicebound/#", prefix + "inputs/#", std::string(azure::kTwinAnswers),
        std::string(azure::kDesired), std::string(azure::kMethods),
        std::string("$iothub/credentials/res/#")})
    if (filter == allowed) return;
  throw Error(ErrorKind::usage, "subscribe", filter,
              "Azure IoT Hub closes the connection of a device that subscribes to topics other "
              "than its own",
              "subscribe to " + prefix + "messages/devicebound/#, or see hwid/azure.h");
}

std::string user_name(const DeviceConfig& config, const Endpoint& endpoint) {
  std::string name = endpoint.host + "/" + config.client_id + "/?api-version=" + kApiVersion;
  if (!config.model_id.empty()) name += "&model-id=" + cloud::url_encode(config.model_id);
  return name;
}

// {"errorCode":400004,"message":"..."} or whatever else it is.
std::string refusal_of(int status, const std::string& payload) {
  std::string text = "status " + std::to_string(status);
  const auto document = parse_foreign_json(payload);
  if (!document.is_object()) return text;
  for (const char* key : {"errorCode", "message", "Message"})
    if (const auto value = document.find(key); value != document.end())
      text += ", " + (value->is_string() ? value->get<std::string>() : value->dump());
  return cloud::shown(text);
}

// The $rid of a request, put in where it is missing: SERVICE/VERB/.../?$rid=RID.
std::string request_id_of(std::string& topic) {
  const auto question = topic.find('?');
  for (const auto& [name, value] :
       cloud::parse_query(question == std::string::npos ? "" : topic.substr(question + 1)))
    if (name == "$rid" && !value.empty()) return value;
  std::string rid = random_name();
  constexpr std::string_view kRid = "$rid=";
  const auto place = topic.find(kRid);
  if (place != std::string::npos)
    topic.insert(place + kRid.size(), rid);
  else
    topic += (question == std::string::npos ? "?$rid=" : "&$rid=") + rid;
  return rid;
}

}  // namespace

// $iothub/SERVICE/... and $dps/SERVICE/... answer on .../SERVICE/res/STATUS/?$rid=RID.
std::optional<cloud::AnswerRule> azure::answer_rule(Message& request) {
  const std::string& topic = request.topic;
  if (!begins_with(topic, "$iothub/") && !begins_with(topic, "$dps/")) return std::nullopt;
  if (begins_with(topic, azure::kMethodResponse)) return std::nullopt;
  const auto service = topic.find('/', topic.find('/') + 1);
  if (service == std::string::npos) return std::nullopt;
  const std::string answers = topic.substr(0, service) + "/res/";
  const std::string rid = request_id_of(request.topic);
  return cloud::AnswerRule{
      {answers + "#"}, [answers, rid](const Message& message) -> cloud::Answer {
        const auto answer = azure::parse_answer(answers, message.topic);
        if (!answer || answer->request_id != rid) return {};
        if (answer->status >= 200 && answer->status < 300) return {true};
        return {true, refusal_of(answer->status, message.payload), answer->status,
                azure::retry_after_of(message.topic).value_or(std::chrono::seconds(0))};
      }};
}

// 1177 seconds: the hub waits one and a half times as long, 29.45 minutes at most.
const cloud::Rules cloud::kAzure = {"Azure IoT Hub",
                                    {2 * kMaxPartBytes + 1, 0, 0, 256 * 1024UL,
                                     std::chrono::seconds(1177), Qos::at_least_once, false, true},
                                    443,
                                    nullptr,
                                    nullptr,
                                    "/$iothub/websocket",
                                    check_client,
                                    check_topic,
                                    check_filter,
                                    user_name,
                                    azure::answer_rule};

}  // namespace hwid::transport
