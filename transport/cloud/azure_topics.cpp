#include "transport/cloud/azure_topics.h"

#include <hwid/azure.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "transport/cloud/url_encoding.h"

namespace hwid::transport::azure {

namespace {

using nlohmann::json;

constexpr std::string_view kDeviceBound = "/messages/devicebound/";
constexpr std::string_view kDesiredPrefix = "$iothub/twin/PATCH/properties/desired/";
constexpr std::string_view kMethodPrefix = "$iothub/methods/POST/";

bool begins_with(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

void check_device(const std::string& device) {
  if (device.empty() || device.find_first_of("+#") != std::string::npos)
    throw Error(ErrorKind::usage, "device id", device.empty() ? "(empty)" : device,
                "+ and # cannot stand in Azure IoT Hub's topics",
                "use the device id, or DEVICE/MODULE for a module");
}

void check_json_object(const char* what, const std::string& text) {
  if (!json::parse(text, nullptr, false).is_object())
    throw Error(ErrorKind::usage, what, text.substr(0, 80), "it is no JSON object");
}

void add(std::string& bag, const std::string& name, const std::string& value) {
  if (name.empty()) throw Error(ErrorKind::usage, "telemetry", value, "a property needs a name");
  bag += (bag.empty() ? "" : "&") + cloud::url_encode(name) + "=" + cloud::url_encode(value);
}

// The members that IoT Hub's own names lead to.
std::string* member_for(HubMessage& message, const std::string& name) {
  if (name == "$.ct") return &message.content_type;
  if (name == "$.ce") return &message.content_encoding;
  if (name == "$.mid") return &message.message_id;
  if (name == "$.cid") return &message.correlation_id;
  return nullptr;
}

// The value of `name` in the query of a topic.
std::string query_value(std::string_view topic, const std::string& name) {
  const auto question = topic.find('?');
  if (question == std::string_view::npos) return {};
  for (const auto& [key, value] : cloud::parse_query(topic.substr(question + 1)))
    if (key == name) return value;
  return {};
}

template <typename Number>
std::optional<Number> number_of(std::string_view text) {
  Number value{};
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string device_prefix(const std::string& device) {
  const auto slash = device.find('/');
  std::string prefix = "devices/" + device.substr(0, slash) + "/";
  if (slash != std::string::npos) prefix += "modules/" + device.substr(slash + 1) + "/";
  return prefix;
}

std::optional<HubAnswer> parse_answer(const std::string& prefix, const std::string& topic) {
  if (!begins_with(topic, prefix)) return std::nullopt;
  const auto rest = std::string_view(topic).substr(prefix.size());
  const auto status = number_of<int>(rest.substr(0, rest.find('/')));
  if (!status) return std::nullopt;
  return HubAnswer{*status, query_value(rest, "$rid")};
}

std::optional<std::chrono::seconds> retry_after_of(const std::string& topic) {
  const auto wanted = number_of<int>(query_value(topic, "retry-after"));
  if (!wanted || *wanted < 0) return std::nullopt;
  return std::chrono::seconds(*wanted);
}

Message telemetry(const std::string& device, const HubMessage& message, Qos qos) {
  check_device(device);
  std::string bag;
  const std::pair<const char*, const std::string*> own[] = {{"$.ct", &message.content_type},
                                                            {"$.ce", &message.content_encoding},
                                                            {"$.mid", &message.message_id},
                                                            {"$.cid", &message.correlation_id}};
  for (const auto& [name, value] : own)
    if (!value->empty()) add(bag, name, *value);
  for (const auto& [name, value] : message.system) add(bag, name, value);
  for (const auto& [name, value] : message.properties) add(bag, name, value);
  return {device_prefix(device) + "messages/events/" + bag, message.payload, qos};
}

std::string cloud_to_device_filter(const std::string& device) {
  check_device(device);
  return device_prefix(device) + "messages/devicebound/#";
}

std::optional<HubMessage> parse_cloud_to_device(const Message& message) {
  const auto place = message.topic.find(kDeviceBound);
  if (!begins_with(message.topic, "devices/") || place == std::string::npos) return std::nullopt;
  HubMessage parsed;
  parsed.payload = message.payload;
  const auto bag = std::string_view(message.topic).substr(place + kDeviceBound.size());
  for (auto& [name, value] : cloud::parse_query(bag)) {
    if (std::string* const member = member_for(parsed, name))
      *member = value;
    else if (begins_with(name, "$.") || begins_with(name, "iothub-"))
      parsed.system.emplace_back(name, value);
    else
      parsed.properties.emplace_back(name, value);
  }
  return parsed;
}

Message twin_get() { return {kTwinGet, ""}; }

Message twin_report(const std::string& reported) {
  check_json_object("reported properties", reported);
  return {kTwinReport, reported};
}

std::string desired_filter() { return kDesired; }

std::optional<DesiredProperties> parse_desired(const Message& message) {
  if (!begins_with(message.topic, kDesiredPrefix)) return std::nullopt;
  const auto version = number_of<std::int64_t>(query_value(message.topic, "$version"));
  if (!version) return std::nullopt;
  return DesiredProperties{*version, message.payload};
}

std::string method_filter() { return kMethods; }

std::optional<MethodCall> parse_method_call(const Message& message) {
  if (!begins_with(message.topic, kMethodPrefix)) return std::nullopt;
  const auto rest = std::string_view(message.topic).substr(kMethodPrefix.size());
  const auto slash = rest.find('/');
  MethodCall call{cloud::url_decode(rest.substr(0, slash)), query_value(rest, "$rid"),
                  message.payload};
  if (slash == std::string_view::npos || call.name.empty() || call.request_id.empty())
    return std::nullopt;
  return call;
}

Message method_response(const MethodCall& call, int status, const std::string& payload) {
  if (!payload.empty() && json::parse(payload, nullptr, false).is_discarded())
    throw Error(ErrorKind::usage, "method response", call.name, "the payload is no JSON");
  return {kMethodResponse + std::to_string(status) + "/?$rid=" + call.request_id, payload};
}

}  // namespace hwid::transport::azure
