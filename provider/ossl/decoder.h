// OSSL_OP_DECODER: key reference files, and keys that a TPM wrapped (provider-decoder(7)).
#pragma once

#include <openssl/core_dispatch.h>

#include "provider/core/public_key.h"
#include "provider/ossl/provider.h"

namespace hwid::ossl::decoder {

// OpenSSL's file store only chains decoders that put out DER, so a file takes two steps: a PEM
// decoder that knows our labels and names the structure, then one DER decoder for each key type.
inline constexpr char kStructure[] = "hwid-key-reference";

class Context {
 public:
  explicit Context(Provider& provider) : provider_(provider) {}
  Provider& provider() const noexcept { return provider_; }
  const ErrorSink* errors() const noexcept { return provider_.errors(); }

 private:
  Provider& provider_;
};

Context* newctx(Provider* provider);
void freectx(Context* ctx);
int set_ctx_params(Context* ctx, const OSSL_PARAM params[]);
const OSSL_PARAM* settable_ctx_params(Provider* provider);
int decode_pem(Context* ctx, OSSL_CORE_BIO* in, int selection, OSSL_CALLBACK* callback,
               void* argument, OSSL_PASSPHRASE_CALLBACK* pin_callback, void* pin_argument);
template <core::Algorithm A>
int decode_der(Context* ctx, OSSL_CORE_BIO* in, int selection, OSSL_CALLBACK* callback,
               void* argument, OSSL_PASSPHRASE_CALLBACK* pin_callback, void* pin_argument);

}  // namespace hwid::ossl::decoder
