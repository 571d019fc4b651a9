#include "tools/hwid/renewal/trial.h"

#include <hwid/transport_error.h>

#include <string_view>

#include "tools/hwid/enrol/proof.h"
#include "transport/endpoint.h"

namespace hwid::tool::renewal {
namespace {

using transport::DeviceConfig;
using transport::Diagnosis;

// The names say who refuses whom.
bool is_about_us(const Diagnosis& diagnosis) {
  const std::string_view name = transport::name_of(diagnosis.cause);
  return name.starts_with("client_") || name.starts_with("own_key") ||
         name.starts_with("own_certificate");
}

}  // namespace

bool has_tls_endpoint(const DeviceConfig& config) {
  if (config.endpoint.empty()) return false;
  const std::string scheme = transport::scheme_of(config.endpoint);
  return scheme == "mqtts" || scheme == "wss" || scheme == "https";
}

Trial try_at_endpoint(const DeviceConfig& config,
                      const transport::CredentialStore::Generation& generation) {
  const Diagnosis found = enrol::try_tls(enrol::with_pair(config, generation));
  if (found.good()) return {};
  const std::string next = found.next_step.empty() ? "" : "; " + found.next_step;
  return {is_about_us(found) ? Trial::Result::refused : Trial::Result::no_answer,
          "try the new certificate: " + config.endpoint + ": " + found.text() + next};
}

}  // namespace hwid::tool::renewal
