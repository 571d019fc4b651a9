#include "tools/hwid/renewal/place.h"

#include "tools/hwid/renewal/aws_issuer.h"
#include "transport/cloud/aws_provisioning.h"
#include "transport/credential_store.h"

namespace hwid::tool::renewal {

Place place_kept(const Invocation& invocation, const transport::DeviceConfig& config) {
  if (config.state_dir.empty())
    throw UsageError(config.source + " says no state-dir, where credentials are kept");
  return {config.state_dir,
          invocation.has("name") ? invocation.text("name") : transport::credential_name(config)};
}

Place place_of(const Invocation& invocation, const transport::DeviceConfig& config) {
  if (config.est_url.empty())
    throw UsageError(config.source + " says no est-url, where certificates are asked for");
  return place_kept(invocation, config);
}

Place place_to_renew(const Invocation& invocation, const transport::DeviceConfig& config) {
  if (AwsIssuer::is_meant(config)) {
    transport::aws::check_provisioning(config);
    return place_kept(invocation, config);
  }
  if (config.est_url.empty() && config.profile == transport::Profile::aws)
    throw UsageError(config.source +
                     " says no est-url, and not all of claim-cert, claim-key and template-name, by "
                     "which AWS makes another certificate; where a person makes it: hwid provision "
                     "aws --csr-out, then --accept");
  return place_of(invocation, config);
}

std::string enrolment_command(const transport::DeviceConfig& config) {
  const bool is_by_aws = config.est_url.empty() && config.profile == transport::Profile::aws;
  return is_by_aws ? "hwid provision aws" : "hwid enroll est";
}

}  // namespace hwid::tool::renewal
