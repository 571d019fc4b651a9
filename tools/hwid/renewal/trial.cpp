#include "tools/hwid/renewal/trial.h"

#include <hwid/transport_error.h>

#include <string_view>

#include "tools/hwid/enrol/proof.h"
#include "transport/endpoint.h"

namespace hwid::tool::renewal {
namespace {

using doctor::MqttAnswer;
using doctor::MqttFault;
using transport::DeviceConfig;
using transport::Diagnosis;
using Generation = transport::CredentialStore::Generation;

constexpr const char* kWhat = "try the new certificate: ";

// The names say who refuses whom.
bool is_about_us(const Diagnosis& diagnosis) {
  const std::string_view name = transport::name_of(diagnosis.cause);
  return name.starts_with("client_") || name.starts_with("own_key") ||
         name.starts_with("own_certificate");
}

bool may_pass(MqttFault fault) {
  return fault == MqttFault::kNoAnswer || fault == MqttFault::kUnavailable ||
         fault == MqttFault::kTaken;
}

bool is_answered_alike(const DeviceConfig& old, const MqttAnswer& answer) {
  return enrol::try_tls(old).good() && enrol::try_mqtt(old).fault == answer.fault;
}

Trial connect_to_broker(const DeviceConfig& config, const Generation& generation,
                        const std::optional<Generation>& old) {
  const MqttAnswer answer = enrol::try_mqtt(enrol::with_pair(config, generation));
  if (answer.fault == MqttFault::kNone) return {};
  const std::string why =
      kWhat + config.endpoint + ", client id " + config.client_id + ": " + answer.text;
  if (may_pass(answer.fault)) return {Trial::Result::no_answer, why};
  const bool is_closed = answer.fault == MqttFault::kClosed;
  if (old ? is_answered_alike(enrol::with_pair(config, *old), answer) : is_closed)
    // A broker that is down is closed to both, too, and proves nothing.
    return is_closed ? Trial{Trial::Result::no_answer, why} : Trial();
  return {
      Trial::Result::refused,
      why + "; see that the other side knows the certificate, and lets this client id in with it"};
}

}  // namespace

bool has_tls_endpoint(const DeviceConfig& config) {
  if (config.endpoint.empty()) return false;
  const std::string scheme = transport::scheme_of(config.endpoint);
  return scheme == "mqtts" || scheme == "wss" || scheme == "https";
}

Trial try_at_endpoint(const DeviceConfig& config, const Generation& generation,
                      const std::optional<Generation>& old) {
  const Diagnosis found = enrol::try_tls(enrol::with_pair(config, generation));
  if (found.good()) {
    const bool has_connect =
        transport::scheme_of(config.endpoint) == "mqtts" && !config.client_id.empty();
    return has_connect ? connect_to_broker(config, generation, old) : Trial();
  }
  const std::string next = found.next_step.empty() ? "" : "; " + found.next_step;
  return {is_about_us(found) ? Trial::Result::refused : Trial::Result::no_answer,
          kWhat + config.endpoint + ": " + found.text() + next};
}

}  // namespace hwid::tool::renewal
