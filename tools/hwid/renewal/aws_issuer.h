// The next certificate of a device of AWS IoT Core, by fleet provisioning with its claim: AWS has
// no other way by which a device gets one.
#pragma once

#include <hwid/device_config.h>
#include <openssl/x509.h>

#include <functional>
#include <string>

#include "tools/hwid/invocation.h"
#include "transport/credential_store.h"

namespace hwid::tool::renewal {

// One thread.
class AwsIssuer {
 public:
  AwsIssuer(Invocation& invocation, const transport::DeviceConfig& config,
            transport::CredentialStore& store)
      : invocation_(invocation), config_(config), store_(store) {}

  // Whether a device.conf means it: profile = aws with a claim and a template, and no est-url.
  static bool is_meant(const transport::DeviceConfig& config);

  // Has a certificate for the generation's key made and registered, and keeps it there with what is
  // learned. What a run before has begun is gone on with, also where it had only to clean up; where
  // AWS does not take that any more, its certificate's id goes to `give_up` before another one is
  // kept. What is registered for another thing than the device's is refused, and asked for once.
  // Throws transport::Error, core::Error.
  void obtain(const transport::CredentialStore::Generation& generation, X509_NAME* subject,
              const std::function<void(const std::string&)>& give_up);

  // Whether AWS has registered what the generation is for another thing than the device's.
  bool is_for_another(const transport::CredentialStore::Generation& generation) const;

 private:
  void require_same_thing(const transport::CredentialStore::Generation& generation) const;
  std::string request_for(const transport::CredentialStore::Generation& generation,
                          X509_NAME* subject);

  Invocation& invocation_;
  const transport::DeviceConfig& config_;
  transport::CredentialStore& store_;
};

}  // namespace hwid::tool::renewal
