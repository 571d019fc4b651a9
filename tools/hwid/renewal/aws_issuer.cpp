#include "tools/hwid/renewal/aws_issuer.h"

#include <hwid/transport_error.h>

#include "tools/hwid/enrol/enrolment.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/provision/registration.h"
#include "tools/hwid/provision/unregistered.h"
#include "tools/hwid/x509/request.h"

namespace hwid::tool::renewal {

using Generation = transport::CredentialStore::Generation;

bool AwsIssuer::is_meant(const transport::DeviceConfig& config) {
  return config.est_url.empty() && config.profile == transport::Profile::aws &&
         !config.claim_cert.empty() && !config.claim_key.empty() && !config.template_name.empty();
}

std::string AwsIssuer::request_for(const Generation& generation, X509_NAME* subject) {
  OSSL_LIB_CTX* const crypto = invocation_.crypto();
  const core::EvpPkey key = open_private_key(invocation_, generation.key.string());
  const x509::SignatureForm form = x509::signature_form(key.get(), "", false, crypto);
  return x509::make_request({subject}, key.get(), form, crypto);
}

bool AwsIssuer::is_for_another(const Generation& generation) const {
  const std::string thing = provision::thing_name_in(generation.key.parent_path());
  return !config_.thing_name.empty() && !thing.empty() && thing != config_.thing_name;
}

// A template that has become another one, or another device's parameters: nobody who renews
// unattended means to become another thing, with its client id and its topics.
void AwsIssuer::require_same_thing(const Generation& generation) const {
  if (!is_for_another(generation)) return;
  const std::filesystem::path directory = generation.key.parent_path();
  throw transport::Error(
      transport::ErrorKind::refused, "renew", directory.string(),
      "AWS has registered certificate " + provision::certificate_id_in(directory) +
          " for the thing " + provision::thing_name_in(directory) + ", and the device is " +
          config_.thing_name,
      "mend the template " + config_.template_name +
          ", or template-parameters, then: hwid renew --now, which asks for another certificate. "
          "If it is to be that thing: hwid provision aws");
}

void AwsIssuer::obtain(const Generation& generation, X509_NAME* subject,
                       const std::function<void(const std::string&)>& give_up) {
  const std::filesystem::path directory = generation.key.parent_path();
  // What is learned is kept last: with it the other side has said all.
  if (generation.cert.empty() || store_.learned_with(generation.number).empty()) {
    const enrol::AuditedEnrolment audited(invocation_, "aws", config_.endpoint,
                                          store_.directory().filename().string());
    audited.run([&] {
      const auto registration = provision::register_device(
          config_, request_for(generation, subject), directory,
          [&] { return generation.key.parent_path(); }, give_up, enrol::patience_of(invocation_));
      require_same_thing(generation);
      store_.keep_certificate(generation.number, registration.issued.certificate_pem);
      store_.keep_learned(generation.number, provision::learned_from(config_, registration));
    });
  }
  provision::forget_unregistered(directory);
}

}  // namespace hwid::tool::renewal
