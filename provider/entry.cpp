// The module's one exported symbol, and what the provider is put together from.
#include "provider/backends.h"
#include "provider/ossl/provider.h"
#include "provider/software/software_keys.h"
#include "provider/tpm2/tcti.h"

namespace {

hwid::ossl::Parts parts() {
  using namespace hwid;
  ossl::Parts parts;
  parts.make_backends = [](const core::Config& config, ossl::Provider& provider) {
    return make_backends(config, provider.log());
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
