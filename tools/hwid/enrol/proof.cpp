#include "tools/hwid/enrol/proof.h"

#include <hwid/transport_error.h>

#include "tools/hwid/broker_tls.h"
#include "tools/hwid/doctor/mqtt_exchange.h"
#include "transport/credentials.h"
#include "transport/tls_diagnosis.h"

namespace hwid::tool::enrol {
namespace {

using doctor::MqttAnswer;
using doctor::MqttFault;
using transport::DeviceConfig;
using transport::Diagnosis;
using transport::Endpoint;
using transport::Error;
using transport::ErrorKind;
using transport::Side;
using transport::TlsSettings;

constexpr const char* kWhat = "connect with the new certificate";

// What a connection is made with. The settings borrow from the credentials.
struct Connection {
  explicit Connection(const DeviceConfig& config)
      : endpoint(broker_endpoint(config)),
        credentials(transport::Credentials::load(config)),
        settings(broker_tls(config, endpoint, credentials)) {}

  Endpoint endpoint;
  transport::Credentials credentials;
  TlsSettings settings;
};

void check_tls(const DeviceConfig& config, const TlsSettings& settings) {
  const Diagnosis diagnosis = transport::diagnose(settings);
  if (diagnosis.good()) return;
  const Side side = transport::side_of(diagnosis.cause);
  throw Error(side == Side::server    ? ErrorKind::refused
              : side == Side::network ? ErrorKind::timeout
                                      : ErrorKind::environment,
              kWhat, config.endpoint, diagnosis.text(), diagnosis.next_step);
}

// Whether they are wanted is another question.
DeviceConfig without_subscription(DeviceConfig config) {
  config.topics_subscribe.clear();
  return config;
}

// A broker that closes without a word may be one that is down.
ErrorKind kind_of(MqttFault fault) {
  switch (fault) {
    case MqttFault::kClosed:
      return ErrorKind::closed;
    case MqttFault::kNoAnswer:
    case MqttFault::kUnavailable:
    case MqttFault::kTaken:
      return ErrorKind::timeout;
    default:
      return ErrorKind::refused;
  }
}

void check_mqtt(const DeviceConfig& config, const TlsSettings& settings) {
  const MqttAnswer answer = doctor::exchange_mqtt(settings, config);
  if (answer.fault == MqttFault::kNone) return;
  throw Error(kind_of(answer.fault), kWhat, config.endpoint + ", client id " + config.client_id,
              answer.text,
              "see that the other side knows the certificate, and lets this client id in with it");
}

}  // namespace

DeviceConfig with_pair(DeviceConfig config,
                       const transport::CredentialStore::Generation& generation) {
  config.cert = generation.cert.string();
  config.key = generation.key.string();
  return config;
}

Diagnosis try_tls(const DeviceConfig& config) {
  return transport::diagnose(Connection(config).settings);
}

MqttAnswer try_mqtt(const DeviceConfig& config) {
  return doctor::exchange_mqtt(Connection(config).settings, without_subscription(config));
}

void prove_connection(const DeviceConfig& device) {
  const DeviceConfig config = without_subscription(device);
  const Connection connection(config);
  check_tls(config, connection.settings);
  if (connection.endpoint.scheme == "mqtts") check_mqtt(config, connection.settings);
}

void prove_new_certificate(const DeviceConfig& config, const transport::cloud::Patience& patience) {
  transport::cloud::persist(
      patience, [&] { prove_connection(config); },
      [](const Error& error) { return error.kind() != ErrorKind::environment; });
}

}  // namespace hwid::tool::enrol
