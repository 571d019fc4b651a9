#include "tools/hwid/renewal/aws_issuer.h"

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
      store_.keep_certificate(generation.number, registration.issued.certificate_pem);
      store_.keep_learned(generation.number, provision::learned_from(config_, registration));
    });
  }
  provision::forget_unregistered(directory);
}

}  // namespace hwid::tool::renewal
