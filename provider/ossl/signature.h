// OSSL_OP_SIGNATURE: RSA, ECDSA and EdDSA (provider-signature(7)).
#pragma once

#include <memory>
#include <string>

#include "provider/ossl/key_object.h"

namespace hwid::ossl::signature {

// OSSL_SIGNATURE_PARAM_INSTANCE and _CONTEXT_STRING, which OpenSSL has since 3.2.
inline constexpr char kInstance[] = "instance";
inline constexpr char kContextString[] = "context-string";
// OSSL_SIGNATURE_PARAM_SIGNATURE, since 3.4.
inline constexpr char kSignatureParam[] = "signature";

// What Edwards keys can do besides what they do by their own name (RFC 8032).
inline constexpr char kEd25519ctx[] = "Ed25519ctx";
inline constexpr char kEd25519ph[] = "Ed25519ph";
inline constexpr char kEd448ph[] = "Ed448ph";

// How an operation treats its input.
enum class Mode { kSign, kVerify, kVerifyRecover, kDigestSign, kDigestVerify };

// One signature operation in progress. Two implementations: on a token, and in software for
// bystander keys and for everything that needs only a public key.
class Operation {
 public:
  virtual ~Operation() = default;
  virtual std::unique_ptr<Operation> duplicate() const = 0;
  virtual void set_params(const OSSL_PARAM params[]) = 0;
  virtual void get_params(OSSL_PARAM params[]) = 0;
  virtual const OSSL_PARAM* settable_params() const = 0;
  virtual const OSSL_PARAM* gettable_params() const = 0;
  virtual EVP_MD_CTX* digest_context() noexcept = 0;  // nullptr if there is none
  virtual void update(const unsigned char* data, std::size_t size) = 0;
  // `signature` null: only the size is asked for. `size` is the room, then the length, in bytes.
  virtual void sign_final(unsigned char* signature, std::size_t* size, std::size_t room) = 0;
  // What came by update(), then `input`, at once: without it EVP_DigestSign copies the context.
  virtual void digest_sign(unsigned char* signature, std::size_t* size, std::size_t room,
                           const unsigned char* input, std::size_t input_size) = 0;
  virtual bool verify_final(const unsigned char* signature, std::size_t size) = 0;
  // Likewise at once: EdDSA cannot be verified in parts.
  virtual bool digest_verify(const unsigned char* signature, std::size_t size,
                             const unsigned char* input, std::size_t input_size) = 0;
  virtual void sign(unsigned char* signature, std::size_t* size, std::size_t room,
                    const unsigned char* input, std::size_t input_size) = 0;
  virtual bool verify(const unsigned char* signature, std::size_t size, const unsigned char* input,
                      std::size_t input_size) = 0;
  virtual void verify_recover(unsigned char* output, std::size_t* size, std::size_t room,
                              const unsigned char* signature, std::size_t signature_size) = 0;
};

// What signing on a token has in common, whatever the key. It verifies nothing.
class TokenSigning : public Operation {
 public:
  bool verify_final(const unsigned char*, std::size_t) final { wrong_mode(); }
  bool digest_verify(const unsigned char*, std::size_t, const unsigned char*, std::size_t) final {
    wrong_mode();
  }
  bool verify(const unsigned char*, std::size_t, const unsigned char*, std::size_t) final {
    wrong_mode();
  }
  void verify_recover(unsigned char*, std::size_t*, std::size_t, const unsigned char*,
                      std::size_t) final {
    wrong_mode();
  }

 protected:
  explicit TokenSigning(const KeyRef& key) : key_(key) {}
  const KeyRef& key() const noexcept { return key_; }
  std::size_t largest_signature() const;
  void require_room(std::size_t room) const;  // throws kBufferTooSmall
  core::Bytes make(const core::SignScheme& scheme, core::ByteView input) const;
  // `made`, in OpenSSL's form, into the caller's buffer, which has room for the largest.
  void hand_out(const core::Bytes& made, unsigned char* signature, std::size_t* size) const;

 private:
  [[noreturn]] static void wrong_mode();
  KeyRef key_;
};

// `digest`: OpenSSL's name, empty for none. The operation keeps a reference to the key.
std::unique_ptr<Operation> make_eddsa_operation(const KeyRef& key, Mode mode,
                                                const std::string& digest);
std::unique_ptr<Operation> make_token_operation(const KeyRef& key, Mode mode,
                                                const std::string& digest,
                                                const std::string& properties);
std::unique_ptr<Operation> make_software_operation(const KeyRef& key, Mode mode,
                                                   const std::string& digest);

// What the name of an algorithm fixes, as RSA-SHA2-256 and Ed25519ph do (EVP_SIGNATURE-RSA(7),
// EVP_SIGNATURE-ED25519(7)).
struct Preset {
  core::Algorithm key;   // of another: refused by EVP
  core::Digest digest;   // kNone: EdDSA
  const char* instance;  // of EdDSA; nullptr: the key's own
};

// The dispatch table's own context: outlives re-initialisations.
class Context {
 public:
  // `preset`: of static storage, or null.
  Context(Provider& provider, const char* properties, const Preset* preset)
      : provider_(provider),
        properties_(properties == nullptr ? "" : properties),
        preset_(preset) {}
  Context(const Context& other);
  Context& operator=(const Context&) = delete;

  const ErrorSink* errors() const noexcept { return provider_.errors(); }
  // `key` null: the key of the last initialisation.
  void start(KeyObject* key, Mode mode, const char* digest, const OSSL_PARAM params[]);
  // For sign() and verify() of whole messages, or of those that come in parts. Each is made with an
  // operation of its own: what was begun for one is never in the next.
  void start_message(KeyObject* key, Mode mode, const OSSL_PARAM params[]);
  bool takes_messages() const noexcept { return takes_messages_; }
  Operation& operation() const;
  void sign_message(unsigned char* signature, std::size_t* size, std::size_t room,
                    core::ByteView message);
  bool verify_message(core::ByteView signature, core::ByteView message);
  void update_message(core::ByteView part);
  void sign_parts(unsigned char* signature, std::size_t* size, std::size_t room);
  bool verify_parts();  // against OSSL_SIGNATURE_PARAM_SIGNATURE
  void set_params(const OSSL_PARAM params[]);
  const OSSL_PARAM* settable_params() const;

 private:
  void begin(KeyObject* key, Mode mode, const std::string& digest, const OSSL_PARAM params[]);
  void apply_preset(Mode mode);
  void refuse_what_is_fixed(const OSSL_PARAM params[]) const;
  bool has_room(const unsigned char* signature, std::size_t* size, std::size_t room) const;
  void require_no_parts() const;
  std::unique_ptr<Operation> take_message();

  Provider& provider_;
  std::string properties_;
  const Preset* preset_;
  KeyRef key_;
  std::unique_ptr<Operation> operation_;
  bool takes_messages_ = false;
  std::unique_ptr<Operation> message_;  // of which parts have come
  core::Bytes expected_;                // by verify_parts()
};

Context* new_context(Provider* provider, const char* properties, const Preset* preset);
Context* newctx(Provider* provider, const char* properties);
void freectx(Context* ctx);
Context* dupctx(Context* ctx);
int sign_init(Context* ctx, KeyObject* key, const OSSL_PARAM params[]);
int verify_init(Context* ctx, KeyObject* key, const OSSL_PARAM params[]);
int verify_recover_init(Context* ctx, KeyObject* key, const OSSL_PARAM params[]);
int digest_sign_init(Context* ctx, const char* digest, KeyObject* key, const OSSL_PARAM params[]);
int digest_verify_init(Context* ctx, const char* digest, KeyObject* key, const OSSL_PARAM params[]);
int sign(Context* ctx, unsigned char* signature, std::size_t* size, std::size_t room,
         const unsigned char* input, std::size_t input_size);
int verify(Context* ctx, const unsigned char* signature, std::size_t size,
           const unsigned char* input, std::size_t input_size);
int verify_recover(Context* ctx, unsigned char* output, std::size_t* size, std::size_t room,
                   const unsigned char* signature, std::size_t signature_size);
int digest_update(Context* ctx, const unsigned char* data, std::size_t size);
int digest_sign_final(Context* ctx, unsigned char* signature, std::size_t* size, std::size_t room);
int digest_sign(Context* ctx, unsigned char* signature, std::size_t* size, std::size_t room,
                const unsigned char* input, std::size_t input_size);
int digest_verify_final(Context* ctx, const unsigned char* signature, std::size_t size);
int digest_verify(Context* ctx, const unsigned char* signature, std::size_t size,
                  const unsigned char* input, std::size_t input_size);
int get_ctx_params(Context* ctx, OSSL_PARAM params[]);
const OSSL_PARAM* gettable_ctx_params(Context* ctx, Provider* provider);
int set_ctx_params(Context* ctx, const OSSL_PARAM params[]);
const OSSL_PARAM* settable_ctx_params(Context* ctx, Provider* provider);
int get_ctx_md_params(Context* ctx, OSSL_PARAM params[]);
const OSSL_PARAM* gettable_ctx_md_params(Context* ctx);
int set_ctx_md_params(Context* ctx, const OSSL_PARAM params[]);
const OSSL_PARAM* settable_ctx_md_params(Context* ctx);

// Of OpenSSL 3.4 and later.
const OSSL_PARAM* settable_preset_params(Context* ctx, Provider* provider);
const OSSL_PARAM* settable_instance_params(Context* ctx, Provider* provider);
int message_update(Context* ctx, const unsigned char* data, std::size_t size);
int sign_message_final(Context* ctx, unsigned char* signature, std::size_t* size, std::size_t room);
int sign_message_init(Context* ctx, KeyObject* key, const OSSL_PARAM params[]);
int verify_message_init(Context* ctx, KeyObject* key, const OSSL_PARAM params[]);
int verify_message_final(Context* ctx);

template <core::Algorithm A, core::Digest D, const char* I = nullptr>
inline constexpr Preset kPreset{A, D, I};

template <core::Algorithm A, core::Digest D, const char* I = nullptr>
Context* new_preset(Provider* provider, const char* properties) {
  return new_context(provider, properties, &kPreset<A, D, I>);
}

// provider-signature(7): the keys that the algorithm is for, a null pointer at the end.
template <core::Algorithm... A>
const char** key_types();

}  // namespace hwid::ossl::signature
