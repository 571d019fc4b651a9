#include "transport/mqtt/connection_options.h"

#include <hwid/transport_error.h>

#include <array>

#include "transport/openssl_handles.h"
#include "transport/topic.h"

namespace hwid::transport::mqtt_client {

namespace {

constexpr std::uint16_t kTlsPort = 8883;
constexpr std::uint16_t kPlainPort = 1883;
constexpr std::uint16_t kHttpsPort = 443;
constexpr const char* kAwsAlpn = "x-amzn-mqtt-ca";  // AWS IoT: MQTT with X.509 on port 443
constexpr std::uint32_t kDefaultSessionExpiry = 24 * 3600;

[[noreturn]] void refuse(const DeviceConfig& config, const std::string& key, const std::string& why,
                         const std::string& next_step) {
  throw Error(ErrorKind::environment, "open " + config.endpoint,
              (config.source.empty() ? "" : config.source + ", ") + "key " + key, why, next_step);
}

void refuse_unsupported(const DeviceConfig& config) {
  const std::array<std::pair<const char*, bool>, 3> asked = {{
      {"proxy", !config.proxy.empty()},
      {"crl-file", !config.crl_file.empty()},
      {"ocsp", !config.ocsp.empty() && config.ocsp != "no"},
  }};
  for (const auto& [key, given] : asked)
    if (given) refuse(config, key, "this transport cannot honour it", "remove the key");
  if (config.profile == Profile::azure)
    refuse(config, "profile", "the azure profile is not supported by this transport",
           "use plain or aws");
  if (config.profile == Profile::aws && config.qos == Qos::exactly_once)
    refuse(config, "qos", "AWS IoT has no QoS 2", "use 0 or 1");
}

void check_spool(const DeviceConfig& config) {
  if (!config.spool_full.empty() && config.spool_full != "refuse" &&
      config.spool_full != "drop-oldest")
    refuse(config, "spool-full", "'" + config.spool_full + "' is no policy",
           "write refuse or drop-oldest");
  if (config.spool_dir.empty()) return;
  const bool ends =
      config.clean_session || (config.session_expiry && config.session_expiry->count() == 0);
  if (ends)
    refuse(config, "spool-dir",
           "a session that ends with its connection cannot tell what the broker has",
           "set clean-session = no, and no session-expiry of 0");
}

void check_session(const DeviceConfig& config) {
  if (config.client_id.empty())
    refuse(config, "client-id", "it is missing", "give each device a name of its own");
  if (config.will_topic.empty() && !config.will_message.empty())
    refuse(config, "will-message", "there is no will-topic", "give both or none");
  if (!config.will_topic.empty()) check_topic_name(config.will_topic);
  check_spool(config);
  if (config.mqtt_version == MqttVersion::v5) {
    if (config.clean_session && config.session_expiry && config.session_expiry->count() > 0)
      refuse(config, "session-expiry", "a clean session does not outlive its connection",
             "remove it, or set clean-session = no");
    return;
  }
  if (config.session_expiry)
    refuse(config, "session-expiry", "MQTT 3.1.1 does not have it", "set mqtt-version = 5");
  if (config.receive_maximum)
    refuse(config, "receive-maximum", "MQTT 3.1.1 does not have it", "set mqtt-version = 5");
}

// Paho C leaves the minimum version to libssl, and libssl takes it from openssl.cnf: so it can be
// checked here, but not set.
void check_min_tls(const DeviceConfig& config) {
  if (!config.min_tls) return;
  const SslCtxPtr context(SSL_CTX_new(TLS_client_method()));
  const long wanted = *config.min_tls == TlsVersion::v1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
  const long configured = context ? SSL_CTX_get_min_proto_version(context.get()) : 0;
  if (configured < wanted)
    refuse(config, "min-tls", "the MQTT library cannot set it, and openssl.cnf does not",
           std::string("set MinProtocol = TLSv1.") + (wanted == TLS1_3_VERSION ? "3" : "2") +
               " in the ssl_conf section of openssl.cnf");
}

void check_tls(const DeviceConfig& config) {
  if (config.cert.empty() != config.key.empty())
    refuse(config, config.cert.empty() ? "cert" : "key", "it is missing",
           "certificate and key belong together");
  alpn_wire_format(config.alpn);
  check_min_tls(config);
}

std::vector<std::string> alpn_of(const DeviceConfig& config, const Endpoint& endpoint) {
  if (config.alpn.empty() && config.profile == Profile::aws && endpoint.port == kHttpsPort)
    return {kAwsAlpn};
  return config.alpn;
}

// Paho's error handler is not used: Paho C++ 1.2 gives C the address of the copy of these options
// that lives only as long as the call of connect(). probe_tls() finds the reasons instead.
mqtt::ssl_options ssl_options_of(const TlsSettings& tls) {
  mqtt::ssl_options ssl;
  if (!tls.ca_file.empty()) ssl.set_trust_store(tls.ca_file);
  if (!tls.ca_path.empty()) ssl.ca_path(tls.ca_path);
  if (!tls.cert_path.empty()) {
    ssl.set_key_store(tls.cert_path);
    ssl.set_private_key(tls.key_path);
  }
  if (!tls.ciphers.empty()) ssl.set_enabled_cipher_suites(tls.ciphers);
  if (!tls.alpn.empty()) ssl.set_alpn_protos(tls.alpn);
  ssl.set_enable_server_cert_auth(true);
  ssl.set_verify(true);  // the host name, too
  return ssl;
}

mqtt::properties session_properties_of(const DeviceConfig& config) {
  mqtt::properties properties;
  const auto expiry = config.clean_session ? 0
                      : config.session_expiry
                          ? static_cast<std::uint32_t>(config.session_expiry->count())
                          : kDefaultSessionExpiry;
  properties.add({mqtt::property::SESSION_EXPIRY_INTERVAL, static_cast<std::int32_t>(expiry)});
  if (config.receive_maximum)
    properties.add(
        {mqtt::property::RECEIVE_MAXIMUM, static_cast<std::int32_t>(*config.receive_maximum)});
  return properties;
}

}  // namespace

Endpoint check_config(const DeviceConfig& config) {
  Endpoint endpoint = parse_endpoint(config.endpoint);
  const bool tls = endpoint.scheme == "mqtts";
  if (endpoint.port == 0) endpoint.port = tls ? kTlsPort : kPlainPort;
  if (!tls && !config.allow_plaintext)
    refuse(config, "endpoint", "mqtt:// is not encrypted",
           "use mqtts://, or set allow-plaintext = yes");
  if (!tls && (!config.cert.empty() || !config.key.empty() || !config.ca_file.empty() ||
               !config.ca_path.empty() || !config.alpn.empty() || !config.ciphers.empty() ||
               config.min_tls))
    refuse(config, "endpoint",
           "mqtt:// has no use for cert, key, ca-file, ca-path, alpn, ciphers "
           "and min-tls",
           "use mqtts://, or remove them");
  refuse_unsupported(config);
  check_session(config);
  if (tls) check_tls(config);
  return endpoint;
}

TlsSettings tls_settings_of(const DeviceConfig& config, const Endpoint& endpoint,
                            const Credentials& credentials) {
  return {endpoint,
          config.ca_file,
          config.ca_path,
          credentials.cert_path(),
          credentials.key_path(),
          printable_uri(config.key),
          config.ciphers,
          alpn_of(config, endpoint)};
}

mqtt::connect_options connect_options_of(const DeviceConfig& config, const Endpoint& endpoint,
                                         const Credentials& credentials) {
  mqtt::connect_options options;
  const bool v5 = config.mqtt_version == MqttVersion::v5;
  options.set_mqtt_version(v5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1);
  if (v5) {
    options.set_clean_start(config.clean_session);
    options.set_properties(session_properties_of(config));
  } else {
    options.set_clean_session(config.clean_session);
  }
  options.set_keep_alive_interval(config.keep_alive);
  options.set_automatic_reconnect(false);  // ours reads the credentials anew
  if (!config.will_topic.empty())
    options.set_will(mqtt::will_options(config.will_topic, config.will_message,
                                        static_cast<int>(config.qos), false));
  if (endpoint.scheme == "mqtts")
    options.set_ssl(ssl_options_of(tls_settings_of(config, endpoint, credentials)));
  return options;
}

std::string server_uri_of(const Endpoint& endpoint) {
  return (endpoint.scheme == "mqtts" ? "ssl://" : "tcp://") + endpoint.authority();
}

}  // namespace hwid::transport::mqtt_client
