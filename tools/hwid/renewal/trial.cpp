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

Trial connect_to_broker(const DeviceConfig& config, const Generation& generation, OldPair& old) {
  const MqttAnswer answer = enrol::try_mqtt(enrol::with_pair(config, generation));
  if (answer.fault == MqttFault::kNone) return {};
  const std::string why =
      kWhat + config.endpoint + ", client id " + config.client_id + ": " + answer.text;
  if (may_pass(answer.fault)) return {Trial::Result::no_answer, why};
  const bool is_closed = answer.fault == MqttFault::kClosed;
  if (old.is_there() ? old.is_answered(config, answer.fault) : is_closed)
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

bool OldPair::is_answered(const DeviceConfig& config, MqttFault fault) {
  if (!is_asked_) {
    const DeviceConfig with_it = enrol::with_pair(config, *generation_);
    if (enrol::try_tls(with_it).good()) answer_ = enrol::try_mqtt(with_it).fault;
    is_asked_ = true;
  }
  return answer_ == fault;
}

Trial try_at_endpoint(const DeviceConfig& config, const Generation& generation, OldPair& old) {
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
