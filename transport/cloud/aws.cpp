// AWS IoT Core: its rules, its own topics. "AWS IoT Core message broker and protocol limits and
// quotas", "Reserved topics", "Device Shadow MQTT topics" in AWS's documentation.
#include <hwid/aws.h>

#include <nlohmann/json.hpp>

#include "transport/cloud/names.h"
#include "transport/cloud/rules.h"
#include "transport/foreign_json.h"
#include "transport/random_name.h"
#include "transport/scheme_options.h"

namespace hwid::transport {

namespace {

using nlohmann::json;

constexpr const char* kReserved = "$aws/";
constexpr const char* kThings = "$aws/things/";
constexpr const char* kClientToken = "clientToken";

bool begins_with(const std::string& text, const std::string& start) {
  return text.rfind(start, 0) == 0;
}

json object_of(const std::string& what, const std::string& text) {
  auto document = parse_foreign_json(text);
  if (!document.is_object())
    throw Error(ErrorKind::usage, what, text.substr(0, 80), "it is no JSON object");
  return document;
}

void check_client(const DeviceConfig& config, const Endpoint& endpoint) {
  if (endpoint.scheme == "wss")
    refuse_option(config, "endpoint",
                  "AWS IoT Core takes certificates over mqtts:// and https:// only",
                  "use mqtts://HOST, or mqtts://HOST:443 through a firewall");
}

void check_topic(const DeviceConfig&, const std::string& topic) {
  if (topic.front() == '$' && !begins_with(topic, kReserved))
    throw Error(ErrorKind::usage, "publish", topic,
                "AWS IoT Core closes the connection on topics that begin with $ and are not its "
                "own ($aws/)",
                "use another topic");
}

void check_filter(const DeviceConfig&, const std::string& filter) {
  if (begins_with(filter, "$aws/rules/"))
    throw Error(ErrorKind::usage, "subscribe", filter,
                "AWS IoT Core's basic ingest topics go to rules only",
                "let the rule publish to another topic");
  if (filter.front() == '$' && !begins_with(filter, kReserved) && !begins_with(filter, "$share/"))
    throw Error(ErrorKind::usage, "subscribe", filter,
                "AWS IoT Core refuses topics that begin with $ and are not its own ($aws/)",
                "use another topic");
}

// {"code":404,"message":"..."} of shadows and jobs; {"statusCode":400,"errorCode":"...",
// "errorMessage":"..."} of provisioning.
std::string refusal_of(const std::string& payload) {
  const auto document = parse_foreign_json(payload);
  std::string text;
  if (document.is_object())
    for (const char* key : {"code", "statusCode", "errorCode", "message", "errorMessage"})
      if (const auto value = document.find(key); value != document.end())
        text += (text.empty() ? "" : ", ") +
                (value->is_string() ? value->get<std::string>() : value->dump());
  return text.empty() ? "rejected without a reason" : cloud::shown(text);
}

int status_of(const std::string& payload) {
  const auto document = parse_foreign_json(payload);
  if (!document.is_object()) return 0;
  for (const char* key : {"code", "statusCode"})
    if (const auto value = document.find(key);
        value != document.end() && value->is_number_integer() && *value > 0 && *value < 1000)
      return value->get<int>();
  return 0;
}

// The token that ties an answer to the request; it is put into a payload that has none. Only the
// services below $aws/things/ give it back.
std::string client_token_of(Message& request) {
  if (!begins_with(request.topic, kThings)) return {};
  json document = request.payload.empty() ? json::object() : parse_foreign_json(request.payload);
  if (!document.is_object()) return {};  // the cloud says what is wrong with it
  if (!document.contains(kClientToken)) {
    document[kClientToken] = random_name();
    request.payload = document.dump();
  }
  const auto& token = document[kClientToken];
  return token.is_string() ? token.get<std::string>() : std::string();
}

bool has_token(const std::string& payload, const std::string& token) {
  if (token.empty()) return true;
  const auto document = parse_foreign_json(payload);
  return document.is_object() && document.value(kClientToken, json()) == token;
}

// Everything below $aws/ that is asked by a message answers on .../accepted or .../rejected.
std::optional<cloud::AnswerRule> answer_rule(Message& request) {
  if (!begins_with(request.topic, kReserved) || begins_with(request.topic, "$aws/rules/"))
    return std::nullopt;
  const std::string accepted = request.topic + "/accepted";
  const std::string rejected = request.topic + "/rejected";
  const std::string token = client_token_of(request);
  return cloud::AnswerRule{
      {accepted, rejected}, [accepted, rejected, token](const Message& message) -> cloud::Answer {
        const bool yes = message.topic == accepted;
        if ((!yes && message.topic != rejected) || !has_token(message.payload, token)) return {};
        if (yes) return {true};
        return {true, refusal_of(message.payload), status_of(message.payload)};
      }};
}

}  // namespace

const cloud::Rules cloud::kAws = {
    "AWS IoT Core",
    {128, 256, 7, 128 * 1024UL, std::chrono::seconds(1200), Qos::at_least_once, true, true},
    8443,
    "x-amzn-mqtt-ca",
    "x-amzn-http-ca",
    "/mqtt",
    check_client,
    check_topic,
    check_filter,
    nullptr,
    answer_rule};

namespace aws {

namespace {

Message update_with(const std::string& topic, const char* section, const std::string& state) {
  const json document = {{"state", {{section, object_of("shadow state", state)}}}};
  return {topic, document.dump()};
}

}  // namespace

Shadow::Shadow(const std::string& thing, const std::string& name)
    : prefix_(kThings + thing + "/shadow/" + (name.empty() ? "" : "name/" + name + "/")) {
  if (!cloud::is_name(thing, 128, ":_-"))
    throw Error(ErrorKind::usage, "shadow", thing,
                "a thing's name has 1 to 128 of a-z A-Z 0-9 : _ -", "use the thing's name");
  if (!name.empty() && !cloud::is_name(name, 64, ":_-$"))
    throw Error(ErrorKind::usage, "shadow", name,
                "a shadow's name has 1 to 64 of a-z A-Z 0-9 : _ - $", "use another name");
}

Message Shadow::get() const { return {prefix_ + "get", ""}; }

Message Shadow::remove() const { return {prefix_ + "delete", ""}; }

Message Shadow::report(const std::string& state) const {
  return update_with(prefix_ + "update", "reported", state);
}

Message Shadow::desire(const std::string& state) const {
  return update_with(prefix_ + "update", "desired", state);
}

Message Shadow::update(const std::string& document) const {
  object_of("shadow document", document);
  return {prefix_ + "update", document};
}

std::optional<ShadowDelta> parse_shadow_delta(const std::string& payload) {
  const auto document = parse_foreign_json(payload);
  if (!document.is_object() || !document.contains("state") || !document.contains("version") ||
      !document["version"].is_number_integer())
    return std::nullopt;
  return ShadowDelta{document["version"].get<std::int64_t>(), document["state"].dump()};
}

std::string basic_ingest_topic(const std::string& rule, const std::string& topic) {
  if (!cloud::is_name(rule, 128, "_") || topic.empty())
    throw Error(ErrorKind::usage, "basic ingest", rule + "/" + topic,
                "a rule's name has 1 to 128 of a-z A-Z 0-9 _, and a topic must follow");
  return "$aws/rules/" + rule + "/" + topic;
}

}  // namespace aws

}  // namespace hwid::transport
