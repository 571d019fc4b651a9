#include "provider/software/software_keys.h"

#include <openssl/core_names.h>

namespace hwid::software {
namespace {

using core::Algorithm;
using core::Error;
using core::EvpPkey;
using core::EvpPkeyCtx;
using core::Reason;

[[noreturn]] void failed(const char* call, Algorithm algorithm) {
  throw Error(Reason::kLibcrypto, std::string(call) + " for an ordinary " +
                                      core::algorithm_name(algorithm) +
                                      " key: " + core::last_libcrypto_error());
}

EvpPkeyCtx context_for(const core::Libcrypto& crypto, Algorithm algorithm) {
  EvpPkeyCtx ctx(
      EVP_PKEY_CTX_new_from_name(crypto.get(), core::algorithm_name(algorithm), core::kNotHwid));
  if (!ctx) failed("EVP_PKEY_CTX_new_from_name", algorithm);
  return ctx;
}

// What the application's progress callback is given (OSSL_FUNC_keymgmt_gen).
struct Progress {
  OSSL_CALLBACK* callback;
  void* argument;
};

int report_progress(EVP_PKEY_CTX* ctx) {
  const auto* const progress = static_cast<const Progress*>(EVP_PKEY_CTX_get_app_data(ctx));
  int potential = EVP_PKEY_CTX_get_keygen_info(ctx, 0);
  int iteration = EVP_PKEY_CTX_get_keygen_info(ctx, 1);
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_int(OSSL_GEN_PARAM_POTENTIAL, &potential),
                               OSSL_PARAM_construct_int(OSSL_GEN_PARAM_ITERATION, &iteration),
                               OSSL_PARAM_construct_end()};
  return progress->callback(params, progress->argument);
}

class Generation final : public core::SoftwareGeneration {
 public:
  Generation(const core::Libcrypto& crypto, Algorithm algorithm, int selection)
      : crypto_(crypto), algorithm_(algorithm), ctx_(context_for(crypto, algorithm)) {
    keypair_ = (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0;
    init();
  }

  void set_template(EVP_PKEY* key) override {
    ctx_.reset(EVP_PKEY_CTX_new_from_pkey(crypto_.get(), key, core::kNotHwid));
    if (!ctx_) failed("EVP_PKEY_CTX_new_from_pkey", algorithm_);
    init();
  }

  void set_params(const OSSL_PARAM params[]) override {
    if (EVP_PKEY_CTX_set_params(ctx_.get(), params) != 1)
      failed("EVP_PKEY_CTX_set_params", algorithm_);
  }

  EvpPkey generate(OSSL_CALLBACK* progress, void* argument) override {
    Progress report{progress, argument};
    if (progress != nullptr) {
      EVP_PKEY_CTX_set_app_data(ctx_.get(), &report);
      EVP_PKEY_CTX_set_cb(ctx_.get(), report_progress);
    }
    EVP_PKEY* made = nullptr;
    const int result = EVP_PKEY_generate(ctx_.get(), &made);
    EVP_PKEY_CTX_set_cb(ctx_.get(), nullptr);
    if (result != 1) failed("EVP_PKEY_generate", algorithm_);
    return EvpPkey(made);
  }

 private:
  void init() {
    const int result =
        keypair_ ? EVP_PKEY_keygen_init(ctx_.get()) : EVP_PKEY_paramgen_init(ctx_.get());
    if (result != 1) failed("EVP_PKEY_keygen_init", algorithm_);
  }

  const core::Libcrypto& crypto_;
  Algorithm algorithm_;
  bool keypair_ = true;
  EvpPkeyCtx ctx_;
};

}  // namespace

EvpPkey Keys::import_key(Algorithm algorithm, int selection, const OSSL_PARAM params[]) {
  const EvpPkeyCtx ctx = context_for(crypto_, algorithm);
  EVP_PKEY* made = nullptr;
  // fromdata takes the array as non-const and leaves it alone.
  if (EVP_PKEY_fromdata_init(ctx.get()) != 1 ||
      EVP_PKEY_fromdata(ctx.get(), &made, selection, const_cast<OSSL_PARAM*>(params)) != 1)
    failed("EVP_PKEY_fromdata", algorithm);
  return EvpPkey(made);
}

std::unique_ptr<core::SoftwareGeneration> Keys::generation(Algorithm algorithm, int selection) {
  return std::make_unique<Generation>(crypto_, algorithm, selection);
}

}  // namespace hwid::software
