// OSSL_OP_ASYM_CIPHER: RSA encryption and decryption (provider-asym_cipher(7)).
#pragma once

#include "provider/ossl/key_object.h"

namespace hwid::ossl::asym_cipher {

// The dispatch table's own context. A token's key decrypts on its token; everything else is handed
// to libcrypto's own operation, with no token call.
class Context {
 public:
  explicit Context(Provider& provider) : provider_(provider) {}
  Context(const Context& other);
  Context& operator=(const Context&) = delete;

  const ErrorSink* errors() const noexcept { return provider_.errors(); }
  // `key` null: the key of the last initialisation.
  void start(KeyObject* key, bool decrypting, const OSSL_PARAM params[]);
  // `output` null: only the size is asked for. `size` is the room, then the length, in bytes.
  void run(unsigned char* output, std::size_t* size, std::size_t room, core::ByteView input);
  void set_params(const OSSL_PARAM params[]);
  void get_params(OSSL_PARAM params[]) const;

 private:
  core::Secret open(core::ByteView ciphertext) const;
  core::Secret open_pkcs1(core::ByteView ciphertext) const;
  core::Secret open_oaep(core::ByteView ciphertext) const;
  core::Secret open_oaep_raw(core::ByteView ciphertext) const;
  core::Secret on_device(core::DecryptScheme::Kind kind, core::ByteView ciphertext) const;
  [[noreturn]] void throw_damaged() const;
  core::Secret premaster_of(const core::Secret& message) const;

  Provider& provider_;
  KeyRef key_;
  core::EvpPkeyCtx forward_;  // libcrypto's operation, where it does the work
  int pad_mode_;
  core::DecryptScheme oaep_{.kind = core::DecryptScheme::Kind::kRsaOaep, .label = {}};
  bool mgf1_given_ = false;
  bool implicit_rejection_ = true;
  unsigned client_version_ = 0;
  unsigned negotiated_version_ = 0;
};

Context* newctx(Provider* provider);
void freectx(Context* ctx);
Context* dupctx(Context* ctx);
int encrypt_init(Context* ctx, KeyObject* key, const OSSL_PARAM params[]);
int decrypt_init(Context* ctx, KeyObject* key, const OSSL_PARAM params[]);
int run(Context* ctx, unsigned char* output, std::size_t* size, std::size_t room,
        const unsigned char* input, std::size_t input_size);
int get_ctx_params(Context* ctx, OSSL_PARAM params[]);
const OSSL_PARAM* gettable_ctx_params(Context* ctx, Provider* provider);
int set_ctx_params(Context* ctx, const OSSL_PARAM params[]);
const OSSL_PARAM* settable_ctx_params(Context* ctx, Provider* provider);

}  // namespace hwid::ossl::asym_cipher
