#include "transport/cloud/rules.h"

#include <algorithm>

#include "transport/scheme_options.h"

namespace hwid::transport::cloud {

namespace {

constexpr std::uint16_t kHttpsPort = 443;

std::string number(std::size_t value) { return std::to_string(value); }

// The limits that topics and filters share; `prefix` is not counted.
void check_lengths(const Rules& rules, const char* what, const std::string& topic,
                   std::size_t prefix) {
  const auto& limits = rules.limits;
  if (limits.topic_bytes != 0 && topic.size() - prefix > limits.topic_bytes)
    throw Error(ErrorKind::usage, what, topic.substr(0, 80) + "...",
                std::string(rules.cloud) + " takes " + number(limits.topic_bytes) +
                    " bytes of topic at most, this one has " + number(topic.size() - prefix),
                "use a shorter one");
  const auto slashes = static_cast<std::size_t>(
      std::count(topic.begin() + static_cast<std::ptrdiff_t>(prefix), topic.end(), '/'));
  if (limits.topic_slashes != 0 && slashes > limits.topic_slashes)
    throw Error(ErrorKind::usage, what, topic,
                std::string(rules.cloud) + " takes " + number(limits.topic_slashes) +
                    " slashes in a topic at most, this one has " + number(slashes),
                "use fewer levels");
}

void check_qos(const Rules& rules, const char* what, const std::string& topic, Qos qos) {
  if (qos > rules.limits.qos)
    throw Error(ErrorKind::usage, what, topic, std::string(rules.cloud) + " has no QoS 2",
                "use QoS 0 or 1");
}

// Basic ingest ($aws/rules/RULE/) and shared subscriptions ($share/GROUP/) are not counted.
std::size_t uncounted_prefix(const std::string& topic, const std::string& prefix) {
  if (topic.rfind(prefix, 0) != 0) return 0;
  const auto slash = topic.find('/', prefix.size());
  return slash == std::string::npos ? 0 : slash + 1;
}

void check_will(const DeviceConfig& config) {
  if (config.will_topic.empty()) return;
  try {
    check_publish(config, {config.will_topic, config.will_message, config.qos, false, {}});
  } catch (const Error& error) {
    refuse_option(config, "will-topic", error.what(), "");
  }
}

}  // namespace

std::string shown(const std::string& text) {
  constexpr std::size_t kMost = 300;
  std::string cut = text.size() <= kMost ? text : text.substr(0, kMost) + "...";
  std::replace_if(
      cut.begin(), cut.end(), [](unsigned char c) { return c < ' ' || c == 127; }, '?');
  return cut;
}

const Rules& rules_of(Profile profile) {
  switch (profile) {
    case Profile::aws:
      return kAws;
    case Profile::azure:
      return kAzure;
    case Profile::azure_dps:
      return kAzureDps;
    case Profile::generic:
      break;
  }
  return kGeneric;
}

void check_config(const DeviceConfig& config, const Endpoint& endpoint) {
  const Rules& rules = rules_of(config.profile);
  const std::string cloud = rules.cloud;
  const auto& limits = rules.limits;
  if (limits.client_id_bytes != 0 && config.client_id.size() > limits.client_id_bytes)
    refuse_option(config, "client-id",
                  cloud + " takes " + number(limits.client_id_bytes) + " bytes at most",
                  "use a shorter name");
  if (config.qos > limits.qos) refuse_option(config, "qos", cloud + " has no QoS 2", "use 0 or 1");
  if (!limits.mqtt_5 && config.mqtt_version == MqttVersion::v5)
    refuse_option(config, "mqtt-version", cloud + " does not speak MQTT 5", "use 3.1.1");
  if (limits.needs_certificate && config.cert.empty())
    refuse_option(config, "cert", cloud + " knows a device by its certificate, and there is none",
                  "give cert and key");
  if (limits.keep_alive.count() != 0 &&
      (config.keep_alive.count() == 0 || config.keep_alive > limits.keep_alive))
    refuse_option(config, "keep-alive",
                  cloud + " drops a client that is silent for longer than its limit of " +
                      std::to_string(limits.keep_alive.count()) + " seconds",
                  "use a number from 1 to " + std::to_string(limits.keep_alive.count()));
  if (!config.model_id.empty() && rules.user_name == nullptr)
    refuse_option(config, "model-id", cloud + " has no use for it", "set profile = azure");
  if (rules.check_client != nullptr) rules.check_client(config, endpoint);
  check_will(config);
}

void check_publish(const DeviceConfig& config, const Message& message) {
  const Rules& rules = rules_of(config.profile);
  check_qos(rules, "publish", message.topic, message.qos);
  check_lengths(rules, "publish", message.topic, uncounted_prefix(message.topic, "$aws/rules/"));
  const std::size_t most = rules.limits.payload_bytes;
  if (most != 0 && message.payload.size() > most)
    throw Error(ErrorKind::usage, "publish", message.topic,
                std::string(rules.cloud) + " takes " + number(most) +
                    " bytes of payload at most, this one has " + number(message.payload.size()),
                "send it in parts");
  if (rules.check_topic != nullptr) rules.check_topic(config, message.topic);
}

void check_subscribe(const DeviceConfig& config, const std::string& filter, Qos qos) {
  const Rules& rules = rules_of(config.profile);
  check_qos(rules, "subscribe", filter, qos);
  check_lengths(rules, "subscribe", filter, uncounted_prefix(filter, "$share/"));
  if (rules.check_filter != nullptr) rules.check_filter(config, filter);
}

std::vector<std::string> alpn_of(const DeviceConfig& config, const Endpoint& endpoint) {
  if (!config.alpn.empty() || endpoint.port != kHttpsPort) return config.alpn;
  const Rules& rules = rules_of(config.profile);
  const char* const name = endpoint.scheme == "https"   ? rules.https_alpn
                           : endpoint.scheme == "mqtts" ? rules.mqtts_alpn
                                                        : nullptr;
  return name == nullptr ? std::vector<std::string>() : std::vector<std::string>{name};
}

std::string user_name_of(const DeviceConfig& config, const Endpoint& endpoint) {
  auto* const user_name = rules_of(config.profile).user_name;
  return user_name == nullptr ? std::string() : user_name(config, endpoint);
}

std::optional<AnswerRule> answer_rule_of(Profile profile, Message& request) {
  auto* const answer_rule = rules_of(profile).answer_rule;
  if (answer_rule == nullptr) return std::nullopt;
  return answer_rule(request);
}

}  // namespace hwid::transport::cloud
