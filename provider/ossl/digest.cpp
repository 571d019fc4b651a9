#include "provider/ossl/digest.h"

#include <openssl/core_names.h>

#include <new>

namespace hwid::ossl::digest {

Hash::Hash(Provider& provider, const EVP_MD* kind)
    : provider_(provider),
      digest_(provider.crypto().fetch_digest(EVP_MD_get0_name(kind))),
      context_(EVP_MD_CTX_new()) {
  if (!context_) throw std::bad_alloc();
}

Hash::Hash(const Hash& other)
    : provider_(other.provider_), digest_(other.digest_.get()), context_(EVP_MD_CTX_new()) {
  EVP_MD_up_ref(digest_.get());
  if (!context_ || EVP_MD_CTX_copy_ex(context_.get(), other.get()) != 1) throw std::bad_alloc();
}

Hash* new_hash(Provider* provider, const EVP_MD* kind) { return new Hash(*provider, kind); }

int kind_params(const EVP_MD* kind, OSSL_PARAM params[]) {
  const std::pair<const char*, int> sizes[] = {
      {OSSL_DIGEST_PARAM_SIZE, EVP_MD_get_size(kind)},
      {OSSL_DIGEST_PARAM_BLOCK_SIZE, EVP_MD_get_block_size(kind)}};
  for (const auto& [name, size] : sizes) {
    OSSL_PARAM* const param = OSSL_PARAM_locate(params, name);
    if (param != nullptr && OSSL_PARAM_set_size_t(param, static_cast<std::size_t>(size)) != 1)
      return 0;
  }
  // As libcrypto answers for these digests: AlgorithmIdentifiers without NULL (RFC 5754).
  const std::pair<const char*, int> flags[] = {{OSSL_DIGEST_PARAM_XOF, 0},
                                               {OSSL_DIGEST_PARAM_ALGID_ABSENT, 1}};
  for (const auto& [name, flag] : flags) {
    OSSL_PARAM* const param = OSSL_PARAM_locate(params, name);
    if (param != nullptr && OSSL_PARAM_set_int(param, flag) != 1) return 0;
  }
  return 1;
}

const OSSL_PARAM* gettable_params(Provider*) {
  static const OSSL_PARAM kGettable[] = {OSSL_PARAM_size_t(OSSL_DIGEST_PARAM_SIZE, nullptr),
                                         OSSL_PARAM_size_t(OSSL_DIGEST_PARAM_BLOCK_SIZE, nullptr),
                                         OSSL_PARAM_int(OSSL_DIGEST_PARAM_XOF, nullptr),
                                         OSSL_PARAM_int(OSSL_DIGEST_PARAM_ALGID_ABSENT, nullptr),
                                         OSSL_PARAM_END};
  return kGettable;
}

void freectx(Hash* hash) { delete hash; }

Hash* dupctx(Hash* hash) { return new Hash(*hash); }

int init(Hash* hash, const OSSL_PARAM params[]) {
  return EVP_DigestInit_ex2(hash->get(), hash->kind(), params);
}

int update(Hash* hash, const unsigned char* data, std::size_t size) {
  return EVP_DigestUpdate(hash->get(), data, size);
}

int final(Hash* hash, unsigned char* out, std::size_t* size, std::size_t room) {
  *size = static_cast<std::size_t>(EVP_MD_get_size(hash->kind()));
  if (room < *size) return 0;
  return EVP_DigestFinal_ex(hash->get(), out, nullptr);
}

}  // namespace hwid::ossl::digest
