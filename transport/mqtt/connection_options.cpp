#include "transport/mqtt/connection_options.h"

#include <MQTTAsync.h>
#include <hwid/transport_error.h>

#include <cstdlib>
#include <sstream>
#include <string_view>
#include <tuple>

#include "transport/cloud/rules.h"
#include "transport/openssl_handles.h"
#include "transport/scheme_options.h"
#include "transport/tls_settings.h"
#include "transport/topic.h"

namespace hwid::transport::mqtt_client {

namespace {

constexpr std::uint16_t kTlsPort = 8883;
constexpr std::uint16_t kPlainPort = 1883;
constexpr std::uint16_t kHttpsPort = 443;
constexpr int kPahoSecurityLevel = 1;  // Paho C sets it
constexpr std::uint32_t kDefaultSessionExpiry = 24 * 3600;
// mosquitto has 20 for MQTT 3.1.1, and would send thousands at once with MQTT 5's own 65535.
constexpr std::uint16_t kDefaultReceiveMaximum = 64;

void check_spool(const DeviceConfig& config) {
  if (!config.spool_full.empty() && config.spool_full != "refuse" &&
      config.spool_full != "drop-oldest")
    refuse_option(config, "spool-full", "'" + config.spool_full + "' is no policy",
                  "write refuse or drop-oldest");
  if (config.spool_dir.empty()) return;
  const bool ends =
      config.clean_session || (config.session_expiry && config.session_expiry->count() == 0);
  if (ends)
    refuse_option(config, "spool-dir",
                  "a session that ends with its connection cannot tell what the broker has",
                  "set clean-session = no, and no session-expiry of 0");
}

void check_session(const DeviceConfig& config) {
  if (config.client_id.empty())
    refuse_option(config, "client-id", "it is missing", "give each device a name of its own");
  if (config.will_topic.empty() && !config.will_message.empty())
    refuse_option(config, "will-message", "there is no will-topic", "give both or none");
  if (!config.will_topic.empty()) check_topic_name(config.will_topic);
  check_spool(config);
  if (config.mqtt_version == MqttVersion::v5) {
    if (config.clean_session && config.session_expiry && config.session_expiry->count() > 0)
      refuse_option(config, "session-expiry", "a clean session does not outlive its connection",
                    "remove it, or set clean-session = no");
    return;
  }
  if (config.session_expiry)
    refuse_option(config, "session-expiry", "MQTT 3.1.1 does not have it", "set mqtt-version = 5");
  if (config.receive_maximum)
    refuse_option(config, "receive-maximum", "MQTT 3.1.1 does not have it", "set mqtt-version = 5");
}

// Paho C leaves the minimum version to libssl, and libssl takes it from openssl.cnf: so it can be
// checked here, but not set.
void check_min_tls(const DeviceConfig& config) {
  if (!config.min_tls) return;
  const SslCtxPtr context(SSL_CTX_new(TLS_client_method()));
  const long wanted = *config.min_tls == TlsVersion::v1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
  const long configured = context ? SSL_CTX_get_min_proto_version(context.get()) : 0;
  if (configured < wanted)
    refuse_option(config, "min-tls", "the MQTT library cannot set it, and openssl.cnf does not",
                  std::string("set MinProtocol = TLSv1.") + (wanted == TLS1_3_VERSION ? "3" : "2") +
                      " in the ssl_conf section of openssl.cnf");
}

void check_tls(const DeviceConfig& config, const Endpoint& endpoint) {
  if (endpoint.host.find(':') != std::string::npos)
    refuse_option(config, "endpoint",
                  "the MQTT library does not find an IPv6 address in a server's certificate",
                  "write a name that the certificate has");
  if (config.cert.empty() != config.key.empty())
    refuse_option(config, config.cert.empty() ? "cert" : "key", "it is missing",
                  "certificate and key belong together");
  alpn_wire_format(config.alpn);
  check_min_tls(config);
}

// Paho C 1.3.10 to 1.3.12 send every connection to the proxy of these variables, later ones where a
// further variable says so. Neither can be told not to.
bool paho_obeys_environment() {
  int major = 0;
  int minor = 0;
  int patch = 0;
  for (const auto* info = MQTTAsync_getVersionInfo(); info != nullptr && info->name != nullptr;
       ++info)
    if (std::string_view(info->name) == "Version") {
      char dot = 0;
      std::istringstream(info->value) >> major >> dot >> minor >> dot >> patch;
    }
  const auto version = std::make_tuple(major, minor, patch);
  if (version < std::make_tuple(1, 3, 13)) return version >= std::make_tuple(1, 3, 10);
  const char* const asked = std::getenv("PAHO_C_CLIENT_USE_HTTP_PROXY");
  return asked != nullptr && std::string_view(asked).rfind("TRUE", 0) == 0;
}

void check_proxy(const DeviceConfig& config, const Endpoint& endpoint) {
  const char* const variable = uses_tls(endpoint) ? "https_proxy" : "http_proxy";
  if (parse_proxy(config).used()) {
    if (endpoint.host.find(':') != std::string::npos)
      refuse_option(config, "proxy", "the MQTT library cannot ask it for an IPv6 address",
                    "write a name or an IPv4 address into endpoint");
    return;
  }
  if (std::getenv(variable) != nullptr && paho_obeys_environment())
    refuse_option(config, "proxy",
                  std::string("it is not given, and the environment has ") + variable +
                      ", which the MQTT library would obey",
                  std::string("give the proxy here, or unset ") + variable + " for this program");
}

// Paho C looks for the port behind the last colon.
void check_web_socket_path(const DeviceConfig& config, const Endpoint& endpoint) {
  if (endpoint.path.find(':') != std::string::npos)
    refuse_option(config, "endpoint", "the MQTT library takes no path with a colon",
                  "use another path");
}

// Paho's error handler is not used: Paho C++ 1.2 gives C the address of the copy of these options
// that lives only as long as the call of connect(). diagnose() finds the reasons instead.
void set_ssl_options(const TlsSettings& tls, mqtt::ssl_options& ssl) {
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
}

mqtt::properties session_properties_of(const DeviceConfig& config) {
  mqtt::properties properties;
  const auto expiry = config.clean_session ? 0
                      : config.session_expiry
                          ? static_cast<std::uint32_t>(config.session_expiry->count())
                          : kDefaultSessionExpiry;
  properties.add({mqtt::property::SESSION_EXPIRY_INTERVAL, static_cast<std::int32_t>(expiry)});
  properties.add({mqtt::property::RECEIVE_MAXIMUM, receive_maximum_of(config)});
  return properties;
}

}  // namespace

int receive_maximum_of(const DeviceConfig& config) noexcept {
  return config.receive_maximum.value_or(kDefaultReceiveMaximum);
}

bool uses_tls(const Endpoint& endpoint) { return endpoint.scheme != "mqtt"; }

Endpoint check_config(const DeviceConfig& config) {
  Endpoint endpoint = parse_endpoint(config.endpoint);
  const bool tls = uses_tls(endpoint);
  const bool wss = endpoint.scheme == "wss";
  if (endpoint.port == 0) endpoint.port = wss ? kHttpsPort : tls ? kTlsPort : kPlainPort;
  if (wss && endpoint.path.size() <= 1)
    endpoint.path = cloud::rules_of(config.profile).websocket_path;
  if (!tls && !config.allow_plaintext)
    refuse_option(config, "endpoint", "mqtt:// is not encrypted",
                  "use mqtts://, or set allow-plaintext = yes");
  refuse_unsupported_options(config, wss ? kWss : tls ? kMqtts : kMqtt);
  check_session(config);
  check_web_socket_path(config, endpoint);
  check_proxy(config, endpoint);
  if (tls) check_tls(config, endpoint);
  cloud::check_config(config, endpoint);
  return endpoint;
}

TlsSettings paho_settings_of(const DeviceConfig& config, const Endpoint& endpoint,
                             const Credentials& credentials) {
  TlsSettings tls = tls_settings_of(config, endpoint, credentials);
  tls.security_level = kPahoSecurityLevel;
  tls.addresses = Addresses::pahos;
  return tls;
}

mqtt::connect_options connect_options_of(const DeviceConfig& config, const Endpoint& endpoint,
                                         const Credentials& credentials, mqtt::ssl_options& tls) {
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
  const std::string user_name = cloud::user_name_of(config, endpoint);
  if (!user_name.empty()) options.set_user_name(user_name);
  options.set_automatic_reconnect(false);  // ours reads the credentials anew
  if (!config.will_topic.empty())
    options.set_will(mqtt::will_options(config.will_topic, config.will_message,
                                        static_cast<int>(config.qos), false));
  // Paho C wants http:// before a proxy for plain connections, and https:// before one for TLS.
  if (const Proxy proxy = parse_proxy(config); proxy.used()) {
    const std::string rest =
        (proxy.user_info.empty() ? "" : proxy.user_info + "@") + proxy.authority();
    if (uses_tls(endpoint))
      options.set_https_proxy("https://" + rest);
    else
      options.set_http_proxy("http://" + rest);
  }
  if (uses_tls(endpoint)) {
    set_ssl_options(paho_settings_of(config, endpoint, credentials), tls);
    options.set_ssl(tls);
  }
  return options;
}

std::string server_uri_of(const Endpoint& endpoint) {
  const char* const scheme = endpoint.scheme == "wss" ? "wss://"
                             : uses_tls(endpoint)     ? "ssl://"
                                                      : "tcp://";
  return scheme + endpoint.authority() + endpoint.path;
}

}  // namespace hwid::transport::mqtt_client
