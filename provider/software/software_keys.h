// Bystander keys, made by whatever other providers the application has.
#pragma once

#include "provider/core/software_keys.h"

namespace hwid::software {

class Keys final : public core::SoftwareKeys {
 public:
  explicit Keys(const core::Libcrypto& crypto) : crypto_(crypto) {}
  core::EvpPkey import_key(core::Algorithm algorithm, int selection,
                           const OSSL_PARAM params[]) override;
  std::unique_ptr<core::SoftwareGeneration> generation(core::Algorithm algorithm,
                                                       int selection) override;

 private:
  const core::Libcrypto& crypto_;
};

}  // namespace hwid::software
