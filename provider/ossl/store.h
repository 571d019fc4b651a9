// OSSL_OP_STORE: key URIs (provider-storemgmt(7)).
#pragma once

#include <openssl/core_dispatch.h>

#include <utility>
#include <vector>

#include "provider/core/backend.h"
#include "provider/ossl/load_audit.h"
#include "provider/ossl/provider.h"
#include "provider/ossl/store_criterion.h"

namespace hwid::ossl::store {

// One open URI. The token is searched at the first load, when the passphrase callback and what the
// application expects are known.
class Loader {
 public:
  Loader(Provider& provider, core::KeyUri uri)
      : provider_(provider), uri_(std::move(uri)), audit_(provider) {}
  const ErrorSink* errors() const noexcept { return provider_.errors(); }
  void set_expected(int store_info_type) noexcept { expected_ = store_info_type; }
  Criterion& criterion() noexcept { return criterion_; }
  // False once after a load that failed: programs ask for the end before they ask for an error.
  bool at_end() noexcept { return !std::exchange(failed_, false) && is_done(); }
  int load_next(OSSL_CALLBACK* callback, void* argument, const core::PinPrompt& prompt);

 private:
  bool is_done() const noexcept { return searched_ && next_ >= count(); }
  std::size_t count() const noexcept { return objects_.size() + names_.size(); }
  void search(const core::PinPrompt& prompt);

  Provider& provider_;
  core::KeyUri uri_;
  LoadAudit audit_;
  Criterion criterion_;
  int expected_ = 0;  // OSSL_STORE_INFO_*; 0: anything
  bool searched_ = false;
  bool failed_ = false;
  std::size_t next_ = 0;
  std::vector<core::Object> objects_;
  std::vector<std::string> names_;
};

Loader* open(Provider* provider, const char* uri);
int set_ctx_params(Loader* loader, const OSSL_PARAM params[]);
const OSSL_PARAM* settable_ctx_params(Provider* provider);
int load(Loader* loader, OSSL_CALLBACK* callback, void* argument,
         OSSL_PASSPHRASE_CALLBACK* pin_callback, void* pin_argument);
int eof(Loader* loader);
int close(Loader* loader);

}  // namespace hwid::ossl::store
