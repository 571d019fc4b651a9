// Keys of OpenSSL's own, for whoever asks our key management for one ("bystander keys").
#pragma once

#include <openssl/core_dispatch.h>
#include <openssl/params.h>

#include <memory>

#include "provider/core/libcrypto.h"
#include "provider/core/public_key.h"

namespace hwid::core {

// A key generation in software, fed step by step as OSSL_FUNC_keymgmt_gen_* is.
class SoftwareGeneration {
 public:
  virtual ~SoftwareGeneration() = default;
  virtual void set_template(EVP_PKEY* key) = 0;
  virtual void set_params(const OSSL_PARAM params[]) = 0;
  // `progress` may be null.
  virtual EvpPkey generate(OSSL_CALLBACK* progress, void* argument) = 0;
};

// OpenSSL's fetch without a query may land on our RSA and EC (listed first, `?provider=hwid`, or by
// the method cache even when last). What is then generated or imported without a parameter of ours
// is an ordinary key: made by the application's other providers, fully exportable, no token
// touched. Thread-safe. All members throw kLibcrypto with libcrypto's own reason.
class SoftwareKeys {
 public:
  virtual ~SoftwareKeys() = default;
  virtual EvpPkey import_key(Algorithm algorithm, int selection, const OSSL_PARAM params[]) = 0;
  virtual std::unique_ptr<SoftwareGeneration> generation(Algorithm algorithm, int selection) = 0;
};

}  // namespace hwid::core
