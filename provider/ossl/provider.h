// The provider context: one for each library context that loads us.
#pragma once

#include <openssl/core_dispatch.h>

#include <array>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "provider/core/libcrypto.h"
#include "provider/core/log.h"
#include "provider/core/process.h"
#include "provider/core/router.h"
#include "provider/core/software_keys.h"
#include "provider/ossl/guard.h"
#include "provider/ossl/token_call.h"

namespace hwid::ossl {

class Provider;

// What the entry point puts together: the only place that names backends.
struct Parts {
  std::function<std::vector<std::unique_ptr<core::Backend>>(const core::Config&, Provider&)>
      make_backends;
  std::function<std::unique_ptr<core::SoftwareKeys>(const core::Libcrypto&)> make_software_keys;
  // NAME=VALUE, set where unset, if a TPM is configured.
  std::vector<std::string> tpm_environment;
};

// Keys outlive OSSL_PROVIDER_unload: OpenSSL calls teardown when the last one is freed.
// Thread-safe.
class Provider {
 public:
  Provider(const OSSL_CORE_HANDLE* handle, const OSSL_DISPATCH* upcalls, Parts parts);
  ~Provider();
  Provider(const Provider&) = delete;
  Provider& operator=(const Provider&) = delete;

  const ErrorSink* errors() const noexcept { return &errors_; }
  const core::Libcrypto& crypto() const noexcept { return crypto_; }
  const core::Log& log() const noexcept { return *log_; }
  core::Router& router() noexcept { return router_; }
  core::SoftwareKeys& software_keys() noexcept { return *software_keys_; }
  core::AuditSink* audit() const noexcept { return audit_.get(); }
  TokenCalls& token_calls() { return token_calls_.get(); }
  // The rows of an operation with this instance's properties; nullptr if we have none. libcrypto's
  // own generator is among them where the configuration says so, and, as its digests, where no
  // other provider can have it.
  const OSSL_ALGORITHM* algorithms(int operation) const noexcept;
  // Whether the rows of an operation may be others the next time: libcrypto's own ones, which go
  // as soon as another provider has them.
  bool is_passing(int operation) const noexcept;
  // Whether keys that a TPM wrapped are for another provider: we have no TPM, and it decodes them.
  bool leaves_tss2_to_another();
  const OSSL_ITEM* reasons() const noexcept { return reasons_.data(); }
  // Called when a key goes: OpenSSL may let go of us next. After OPENSSL_cleanup (a key in a static
  // object of the program) it would crash in that, and so we stay until the process is gone.
  void outlive_libcrypto() const noexcept;

 private:
  std::optional<std::string> parameter(const std::string& name) const;
  void copy_algorithms();
  bool wants_default_random() const;
  bool is_assumed_fips() const;
  void set_environment(const std::vector<std::string>& for_tpm) const;

  ErrorSink errors_;
  const OSSL_CORE_HANDLE* handle_;
  OSSL_FUNC_core_get_params_fn* get_params_ = nullptr;
  OSSL_FUNC_provider_up_ref_fn* up_ref_ = nullptr;
  core::Libcrypto crypto_;
  std::string name_;
  std::unique_ptr<core::Log> log_;
  std::unique_ptr<core::AuditSink> audit_;
  core::Router router_;
  std::unique_ptr<core::SoftwareKeys> software_keys_;
  core::EpochLocal<TokenCalls> token_calls_;
  std::array<OSSL_ITEM, core::kLastReason + 1> reasons_{};
  bool is_default_random_ = false;
  std::list<std::string> properties_;
  std::vector<std::pair<int, std::vector<OSSL_ALGORITHM>>> algorithms_;
};

// OSSL_provider_init, with the parts given. Returns 0 only when memory is short: no token and no
// TPM is touched before a URI needs it, and no file but those of the log and the audit trail.
int init(const OSSL_CORE_HANDLE* handle, const OSSL_DISPATCH* upcalls,
         const OSSL_DISPATCH** functions, void** provctx, Parts parts) noexcept;

namespace provider {
void teardown(Provider* self);
const OSSL_PARAM* gettable_params(Provider* self);
int get_params(Provider* self, OSSL_PARAM params[]);
const OSSL_ALGORITHM* query_operation(Provider* self, int operation, int* no_cache);
const OSSL_ITEM* get_reason_strings(Provider* self);
int get_capabilities(Provider* self, const char* capability, OSSL_CALLBACK* callback,
                     void* argument);
}  // namespace provider

}  // namespace hwid::ossl
