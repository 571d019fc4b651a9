// The module's one exported symbol, and the one place that names backends.
#include "provider/ossl/provider.h"
#include "provider/pkcs11/backend.h"
#include "provider/software/software_keys.h"
#include "provider/tpm2/backend.h"
#include "provider/tpm2/tcti.h"

namespace {

hwid::ossl::Parts parts() {
  using namespace hwid;
  ossl::Parts parts;
  parts.make_backends = [](const core::Config& config, ossl::Provider& provider) {
    std::vector<std::unique_ptr<core::Backend>> all;
    for (const core::BackendConfig& backend : config.backends) {
      if (backend.type == "tpm2") {
        all.push_back(tpm2::make_backend(backend));
        continue;
      }
      for (auto& made : pkcs11::make_backends(backend, config, provider.log()))
        all.push_back(std::move(made));
    }
    return all;
  };
  parts.tpm_environment = tpm2::quiet_environment();
  parts.make_software_keys = [](const core::Libcrypto& crypto) {
    return std::make_unique<software::Keys>(crypto);
  };
  return parts;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int OSSL_provider_init(
    const OSSL_CORE_HANDLE* handle, const OSSL_DISPATCH* upcalls, const OSSL_DISPATCH** functions,
    void** provctx) {
  return hwid::ossl::init(handle, upcalls, functions, provctx, parts());
}
