#include "transport/scheme_options.h"

#include <hwid/transport.h>

#include <algorithm>
#include <utility>

namespace hwid::transport {

namespace {

constexpr unsigned kMqttAll = kMqtt | kMqtts | kWss;
constexpr unsigned kTls = kMqtts | kWss | kHttps;
constexpr unsigned kEverybody = ~0U;

constexpr std::pair<unsigned, const char*> kNames[] = {
    {kMqtt, "mqtt://"}, {kMqtts, "mqtts://"}, {kWss, "wss://"}, {kHttps, "https://"}};

template <auto Member>
bool given(const DeviceConfig& config) {
  static const auto* const defaults = new DeviceConfig;
  return config.*Member != defaults->*Member;
}

bool ocsp_given(const DeviceConfig& config) { return !config.ocsp.empty() && config.ocsp != "no"; }

std::string names_of(unsigned schemes) {
  std::string names;
  for (const auto& [bit, name] : kNames)
    if ((schemes & bit) != 0) names += (names.empty() ? "" : ", ") + std::string(name);
  return names;
}

std::string who_honours(const SchemeOption& option) {
  const std::string others = names_of(option.honoured_by);
  return others.empty() ? "remove the key" : "remove the key; these honour it: " + others;
}

}  // namespace

const std::vector<SchemeOption>& scheme_options() {
  using C = DeviceConfig;
  static const auto* const table = new std::vector<SchemeOption>{
      {"endpoint", given<&C::endpoint>, kEverybody},
      {"client-id", given<&C::client_id>, kEverybody},
      {"profile", given<&C::profile>, kEverybody},
      {"model-id", given<&C::model_id>, kMqttAll},
      {"allow-plaintext", given<&C::allow_plaintext>, kEverybody},

      {"ca-file", given<&C::ca_file>, kTls},
      {"ca-path", given<&C::ca_path>, kTls},
      {"cert", given<&C::cert>, kTls},
      {"key", given<&C::key>, kTls},
      {"alpn", given<&C::alpn>, kTls},
      {"min-tls", given<&C::min_tls>, kTls},
      {"ciphers", given<&C::ciphers>, kTls},
      {"crl-file", given<&C::crl_file>, kTls},
      {"ocsp", ocsp_given, kTls},
      {"proxy", given<&C::proxy>, kMqttAll | kHttps},

      {"topics.publish", given<&C::topics_publish>, kEverybody},
      {"topics.subscribe", given<&C::topics_subscribe>, kEverybody},
      {"qos", given<&C::qos>, kMqttAll | kHttps},
      {"keep-alive", given<&C::keep_alive>, kMqttAll},
      {"clean-session", given<&C::clean_session>, kMqttAll},
      {"mqtt-version", given<&C::mqtt_version>, kMqttAll},
      {"will-topic", given<&C::will_topic>, kMqttAll},
      {"will-message", given<&C::will_message>, kMqttAll},
      {"session-expiry", given<&C::session_expiry>, kMqttAll},
      {"receive-maximum", given<&C::receive_maximum>, kMqttAll},

      {"spool-dir", given<&C::spool_dir>, kMqttAll},
      {"spool-max-messages", given<&C::spool_max_messages>, kMqttAll},
      {"spool-max-bytes", given<&C::spool_max_bytes>, kMqttAll},
      {"spool-full", given<&C::spool_full>, kMqttAll},

      {"state-dir", given<&C::state_dir>, kEverybody},
      {"thing-name", given<&C::thing_name>, kEverybody},
      {"claim-cert", given<&C::claim_cert>, kEverybody},
      {"claim-key", given<&C::claim_key>, kEverybody},
      {"template-name", given<&C::template_name>, kEverybody},
      {"template-parameters", given<&C::template_parameters>, kEverybody},
      {"role-alias", given<&C::role_alias>, kEverybody},
      {"credentials-endpoint", given<&C::credentials_endpoint>, kEverybody},
      {"dps-endpoint", given<&C::dps_endpoint>, kEverybody},
      {"id-scope", given<&C::id_scope>, kEverybody},
      {"registration-id", given<&C::registration_id>, kEverybody},
      {"est-url", given<&C::est_url>, kEverybody},
      {"renew-at", given<&C::renew_at>, kEverybody},
  };
  return *table;
}

void refuse_option(const DeviceConfig& config, const std::string& key, const std::string& why,
                   const std::string& next_step) {
  throw Error(ErrorKind::environment,
              config.endpoint.empty() ? std::string("open") : "open " + config.endpoint,
              (config.source.empty() ? "" : config.source + ", ") + "key " + key, why, next_step);
}

void refuse_unsupported_options(const DeviceConfig& config, unsigned scheme) {
  for (const auto& option : scheme_options())
    if ((option.honoured_by & scheme) == 0 && option.given(config))
      refuse_option(config, option.key, names_of(scheme) + " cannot honour it",
                    who_honours(option));
}

void refuse_other_options(const DeviceConfig& config, const std::vector<std::string>& honoured) {
  for (const auto& option : scheme_options())
    if (option.honoured_by != kEverybody && option.given(config) &&
        std::find(honoured.begin(), honoured.end(), option.key) == honoured.end())
      refuse_option(config, option.key, "this scheme cannot honour it", who_honours(option));
}

}  // namespace hwid::transport
