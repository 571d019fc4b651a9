// OSSL_OP_KEYEXCH: ECDH, X25519 and X448 (provider-keyexch(7)).
#pragma once

#include <string>

#include "provider/ossl/key_object.h"

namespace hwid::ossl::keyexch {

// The dispatch table's own context. A token's key agrees on its token, the KDF runs in software;
// ordinary keys are handed to libcrypto's own operation.
class Context {
 public:
  explicit Context(Provider& provider) : provider_(provider) {}
  Context(const Context& other);
  Context& operator=(const Context&) = delete;

  const ErrorSink* errors() const noexcept { return provider_.errors(); }
  void start(KeyObject* key, const OSSL_PARAM params[]);
  void set_peer(KeyObject* peer);
  // `secret` null: only the size is asked for. `size` is the length, `room` that of the buffer.
  void derive(unsigned char* secret, std::size_t* size, std::size_t room);
  void set_params(const OSSL_PARAM params[]);
  void get_params(OSSL_PARAM params[]) const;

 private:
  bool has_kdf() const noexcept { return !kdf_.empty(); }
  core::Secret shared_x() const;
  core::Secret expand(const core::Secret& shared) const;

  Provider& provider_;
  KeyRef key_;
  KeyRef peer_;
  core::EvpPkeyCtx forward_;  // libcrypto's operation, for ordinary keys
  std::string kdf_;           // "X963KDF", or empty
  std::string kdf_digest_;
  std::string kdf_properties_;
  std::size_t kdf_size_ = 0;
  core::Secret kdf_shared_info_;
};

Context* newctx(Provider* provider);
void freectx(Context* ctx);
Context* dupctx(Context* ctx);
int init(Context* ctx, KeyObject* key, const OSSL_PARAM params[]);
int set_peer(Context* ctx, KeyObject* peer);
int derive(Context* ctx, unsigned char* secret, std::size_t* size, std::size_t room);
int get_ctx_params(Context* ctx, OSSL_PARAM params[]);
const OSSL_PARAM* gettable_ctx_params(Context* ctx, Provider* provider);
int set_ctx_params(Context* ctx, const OSSL_PARAM params[]);
const OSSL_PARAM* settable_ctx_params(Context* ctx, Provider* provider);

}  // namespace hwid::ossl::keyexch
