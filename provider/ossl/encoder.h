// OSSL_OP_ENCODER: public keys, text, and what a private key is kept as outside of its token: a
// reference, or itself as a TPM wrapped it (provider-encoder(7)).
#pragma once

#include <openssl/core_dispatch.h>

#include <string>

#include "provider/ossl/key_object.h"

namespace hwid::ossl::encoder {

// kTypePem is what older OpenSSL writes ("BEGIN RSA PRIVATE KEY"); kEcPem and kEcDer are the same
// of EC, and EC parameters by themselves.
enum class Form { kSpkiPem, kSpkiDer, kTypePem, kEcPem, kEcDer, kPrivatePem, kPrivateDer, kText };

class Context {
 public:
  explicit Context(Provider& provider) : provider_(provider) {}
  Provider& provider() const noexcept { return provider_; }
  const ErrorSink* errors() const noexcept { return provider_.errors(); }
  std::string cipher;  // for an ordinary key's private part
  std::string cipher_properties;

 private:
  Provider& provider_;
};

Context* newctx(Provider* provider);
void freectx(Context* ctx);
int set_ctx_params(Context* ctx, const OSSL_PARAM params[]);
const OSSL_PARAM* settable_ctx_params(Provider* provider);
template <Form F>
int does_selection(void* provider, int selection);
template <Form F>
int encode(Context* ctx, OSSL_CORE_BIO* out, const void* key, const OSSL_PARAM abstract[],
           int selection, OSSL_PASSPHRASE_CALLBACK* callback, void* argument);

}  // namespace hwid::ossl::encoder
