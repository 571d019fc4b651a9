// OSSL_OP_DIGEST: libcrypto's digests, handed on (provider-digest(7)).
#pragma once

#include <openssl/core_dispatch.h>
#include <openssl/evp.h>

#include <cstddef>

#include "provider/ossl/provider.h"

namespace hwid::ossl::digest {

// OpenSSL's own table of a digest: its sizes, with no fetch.
using Kind = const EVP_MD* (*)();

// A digest under way, in the context in which the provider does its software work. Like every
// context of OpenSSL's it belongs to one thread at a time.
class Hash {
 public:
  Hash(Provider& provider, const EVP_MD* kind);
  Hash(const Hash& other);
  Hash& operator=(const Hash&) = delete;
  ~Hash() = default;
  const ErrorSink* errors() const noexcept { return provider_.errors(); }
  const EVP_MD* kind() const noexcept { return digest_.get(); }
  EVP_MD_CTX* get() const noexcept { return context_.get(); }

 private:
  Provider& provider_;
  core::EvpMd digest_;
  core::EvpMdCtx context_;
};

Hash* new_hash(Provider* provider, const EVP_MD* kind);
int kind_params(const EVP_MD* kind, OSSL_PARAM params[]);

template <Kind K>
Hash* newctx(Provider* provider) {
  return new_hash(provider, K());
}
template <Kind K>
int get_params(OSSL_PARAM params[]) {
  return kind_params(K(), params);
}
const OSSL_PARAM* gettable_params(Provider* provider);
void freectx(Hash* hash);
Hash* dupctx(Hash* hash);
int init(Hash* hash, const OSSL_PARAM params[]);
int update(Hash* hash, const unsigned char* data, std::size_t size);
int final(Hash* hash, unsigned char* out, std::size_t* size, std::size_t room);

}  // namespace hwid::ossl::digest
