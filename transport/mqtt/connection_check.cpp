#include "transport/mqtt/connection_check.h"

#include "transport/mqtt/connection_options.h"
#include "transport/tls_diagnosis.h"

namespace hwid::transport::mqtt_client {

namespace {

Error error_of(const DeviceConfig& config, const Diagnosis& diagnosis) {
  const bool refused = side_of(diagnosis.cause) == Side::server &&
                       std::string(name_of(diagnosis.cause)).rfind("client_", 0) == 0;
  return {refused ? ErrorKind::refused : ErrorKind::environment, "connect", config.endpoint,
          diagnosis.text(), diagnosis.next_step};
}

}  // namespace

void check_before_connect(const DeviceConfig& config, const Endpoint& endpoint,
                          const Credentials& credentials) {
  const TlsSettings settings = paho_settings_of(config, endpoint, credentials);
  const bool revocation = !settings.crl_file.empty() || settings.ocsp != Ocsp::no;
  if (!revocation && settings.cert_path.empty()) return;
  DiagnosisOptions options;
  options.listen = std::chrono::milliseconds(0);
  const Diagnosis diagnosis =
      revocation ? diagnose(settings, options) : diagnose_key_pair(settings);
  if (!diagnosis.good()) throw error_of(config, diagnosis);
}

Error explain_failure(const DeviceConfig& config, const Endpoint& endpoint,
                      const Credentials& credentials, const std::string& reported,
                      const std::string& advice) {
  const Diagnosis diagnosis = uses_tls(endpoint)
                                  ? diagnose(paho_settings_of(config, endpoint, credentials))
                                  : diagnose_tcp(endpoint, parse_proxy(config), Addresses::pahos);
  if (!diagnosis.good()) return error_of(config, diagnosis);
  return {ErrorKind::environment, "connect", config.endpoint,
          "no answer from the broker (" + reported + "); the connection below MQTT works", advice};
}

}  // namespace hwid::transport::mqtt_client
