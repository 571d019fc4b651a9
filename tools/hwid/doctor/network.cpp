// The way to the server: its name, TCP, proxy, TLS, MQTT.
#include <hwid/transport_error.h>

#include <algorithm>

#include "tools/hwid/broker_tls.h"
#include "tools/hwid/default_context.h"
#include "tools/hwid/doctor/mqtt_exchange.h"
#include "tools/hwid/doctor/network_causes.h"
#include "tools/hwid/doctor/probes.h"
#include "tools/hwid/key_source.h"
#include "tools/openssl_conf/module.h"
#include "transport/certificate_text.h"
#include "transport/credentials.h"
#include "transport/tls_diagnosis.h"
#include "transport/tls_settings.h"
#include "transport/tls_versions.h"

namespace hwid::tool::doctor {
namespace {

using transport::Cause;
using transport::DeviceConfig;
using transport::Diagnosis;
using transport::Endpoint;
using transport::TlsSettings;

// What the options and device.conf say, as one device.conf.
DeviceConfig settings_of(const Examination& examination) {
  DeviceConfig config = examination.device.value_or(DeviceConfig());
  const bool has_scheme = examination.endpoint.find("://") != std::string::npos;
  config.endpoint = (has_scheme ? "" : "mqtts://") + examination.endpoint;
  config.ca_file = examination.authority;
  config.cert = examination.certificate;
  config.key = examination.key;
  if (config.cert.empty() || config.key.empty()) {  // they belong together
    config.cert.clear();
    config.key.clear();
  }
  if (!examination.device) config.client_id = "hwid-doctor";  // which is not sent
  return config;
}

bool is_self_signed(const std::string& file) {
  const auto chain = transport::read_certificates(file);
  return !chain.empty() && X509_self_signed(chain.front().get(), 0) == 1;
}

// The server knows no CA of ours: what of our file may be the reason.
const char* id_of(const TlsSettings& settings, Cause cause, const std::string& certificate) {
  if (cause != Cause::client_unknown_ca) return id_of_diagnosis(cause);
  if (is_self_signed(settings.cert_path)) return "certificate-self-signed";
  if (transport::read_certificates(settings.cert_path).size() > 1) return id_of_diagnosis(cause);
  return is_key_uri(certificate) ? "certificate-alone-on-token" : "certificate-alone";
}

void add(Examination& examination, const char* id, const Diagnosis& diagnosis,
         const DeviceConfig& config) {
  const std::string certificate = shown_source(config.cert);
  examination.add(id,
                  {{"endpoint", config.endpoint},
                   {"certificate", certificate},
                   {"authority", config.ca_file.empty() ? "the system's CAs" : config.ca_file},
                   {"subject", certificate},
                   {"key", shown_source(config.key)},
                   {"why", diagnosis.why},
                   {"evidence", diagnosis.evidence.empty() ? diagnosis.why : diagnosis.text()},
                   {"next", diagnosis.next_step}},
                  kNoBackend);
}

bool needs_pss(const Diagnosis& diagnosis) {
  return diagnosis.cause == Cause::own_key_unusable &&
         diagnosis.text().find("PSS") != std::string::npos;
}

// To be found, reached and asked, for a server that answers at all.
constexpr std::chrono::seconds kForServer{60};

class Way {
 public:
  Way(Examination& examination, DeviceConfig config)
      : examination_(examination), config_(std::move(config)) {}

  void run() {
    try {
      endpoint_ = broker_endpoint(config_);
    } catch (const transport::Error& error) {
      add(examination_, "endpoint-wrong", {Cause::other, error.what(), "", ""}, config_);
      return;
    }
    const bool is_ours = examination_.key_uri.has_value();
    if (is_ours)
      examination_.begins_with_key("opening key " + shown_source(config_.key) + " for TLS");
    try {
      credentials_ = transport::Credentials::load(config_);
    } catch (const transport::Error& error) {  // the certificate was looked at before
      add(examination_, "own-key-unusable", {Cause::other, error.what(), "", "do as it says"},
          config_);
      return;
    }
    if (is_ours)
      examination_.begins_with_key(
          "TLS with " + endpoint_.authority() + ", and the key's signature for it", kForServer);
    const bool is_plain = endpoint_.scheme == "mqtt";
    const TlsSettings settings = broker_tls(config_, endpoint_, credentials_);
    Diagnosis diagnosis = is_plain ? transport::diagnose_tcp(endpoint_, settings.proxy)
                                   : transport::diagnose(settings);
    if (diagnosis.cause == Cause::protocol_version)
      diagnosis.evidence += (diagnosis.evidence.empty() ? "we have " : "; we have ") +
                            transport::versions_text(transport::versions_of_client(settings)) +
                            ", the server has " +
                            transport::versions_text(transport::versions_of_server(settings));
    if (!diagnosis.good()) {
      const char* const id =
          needs_pss(diagnosis) ? "key-cannot-pss" : id_of(settings, diagnosis.cause, config_.cert);
      add(examination_, id, diagnosis, config_);
      return;
    }
    examination_.passed((is_plain ? "TCP to " : "TLS with ") + endpoint_.authority());
    if (endpoint_.scheme == "mqtts" && examination_.device) exchange(settings);
  }

 private:
  void exchange(const TlsSettings& settings) {
    const MqttAnswer answer = exchange_mqtt(settings, config_);
    if (answer.fault == MqttFault::kNone) {
      examination_.passed("MQTT as " + config_.client_id);
      return;
    }
    Values values = {{"endpoint", config_.endpoint},
                     {"client", config_.client_id},
                     {"filter", config_.topics_subscribe},
                     {"evidence", answer.text}};
    examination_.add(id_of_fault(answer.fault), std::move(values), kNoBackend);
  }

  Examination& examination_;
  const DeviceConfig config_;
  Endpoint endpoint_;
  transport::Credentials credentials_;
};

}  // namespace

void probe_network(Examination& examination) {
  if (examination.endpoint.empty() || examination.is_silenced(Probe::kNetwork, kNoBackend)) return;
  // What the key leads to is not known where a fault before that silenced the question.
  const bool may_be_ours =
      examination.key_uri || (!examination.key.empty() && examination.is_silenced(Probe::kUris));
  if (may_be_ours && examination.is_silenced(Probe::kNetwork, examination.key_scope)) return;
  (void)prepare_default_context(examination.invocation());
  Way(examination, settings_of(examination)).run();
}

}  // namespace hwid::tool::doctor
