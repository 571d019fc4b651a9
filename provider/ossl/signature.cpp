#include "provider/ossl/signature.h"

#include <openssl/core_names.h>

#include <cstring>

namespace hwid::ossl::signature {

using core::Error;
using core::Reason;

void TokenSigning::wrong_mode() {
  throw Error(Reason::kBadParameter, "signature: initialized to sign, not to verify");
}

std::size_t TokenSigning::largest_signature() const {
  return static_cast<std::size_t>(EVP_PKEY_get_size(key_->pkey()));
}

void TokenSigning::require_room(std::size_t room) const {
  if (room < largest_signature())
    throw Error(Reason::kBufferTooSmall,
                "signature: the buffer has " + std::to_string(room) + " bytes, a signature of " +
                    place_text(key_->description()) + " up to " +
                    std::to_string(largest_signature()) + "; ask for the size first");
}

core::Bytes TokenSigning::make(const core::SignScheme& scheme, core::ByteView input) const {
  const std::string mechanism =
      key_->provider().audit() != nullptr ? core::scheme_text(scheme) : std::string();
  return key_->on_token(core::audit_field::kSign, mechanism,
                        [&](const core::Key& key) { return key.sign(scheme, input); });
}

void TokenSigning::hand_out(const core::Bytes& made, unsigned char* signature,
                            std::size_t* size) const {
  if (made.size() > largest_signature())
    throw Error(Reason::kDeviceError, "signature: the token answered " +
                                          std::to_string(made.size()) + " bytes for " +
                                          place_text(key_->description()));
  std::memcpy(signature, made.data(), made.size());
  *size = made.size();
}

namespace {

std::unique_ptr<Operation> operation_for(const KeyRef& key, Mode mode, const std::string& digest,
                                         const std::string& properties) {
  const bool signing = mode == Mode::kSign || mode == Mode::kDigestSign;
  if (!signing || key->key() == nullptr) return make_software_operation(key, mode, digest);
  if (core::is_edwards(key->algorithm())) return make_eddsa_operation(key, mode, digest);
  return make_token_operation(key, mode, digest, properties);
}

}  // namespace

Context::Context(const Context& other)
    : provider_(other.provider_),
      properties_(other.properties_),
      preset_(other.preset_),
      key_(other.key_),
      operation_(other.operation_ ? other.operation_->duplicate() : nullptr),
      takes_messages_(other.takes_messages_),
      message_(other.message_ ? other.message_->duplicate() : nullptr),
      expected_(other.expected_) {}

void Context::begin(KeyObject* key, Mode mode, const std::string& digest,
                    const OSSL_PARAM params[]) {
  if (key != nullptr) key_ = KeyRef(key);
  if (key_.get() == nullptr || key_->pkey() == nullptr)
    throw Error(Reason::kNoPrivateKey, "signature: no key is set; initialize with one");
  message_.reset();
  expected_.clear();
  operation_ = operation_for(key_, mode, digest, properties_);
  if (preset_ != nullptr) apply_preset(mode);
  set_params(params);
}

Operation& Context::operation() const {
  if (!operation_)
    throw Error(Reason::kBadParameter, "signature: not initialized; call an init function first");
  return *operation_;
}

Context* newctx(Provider* provider, const char* properties) {
  return new_context(provider, properties, nullptr);
}
void freectx(Context* ctx) { delete ctx; }
Context* dupctx(Context* ctx) { return new Context(*ctx); }

int sign_init(Context* ctx, KeyObject* key, const OSSL_PARAM params[]) {
  ctx->start(key, Mode::kSign, nullptr, params);
  return 1;
}
int verify_init(Context* ctx, KeyObject* key, const OSSL_PARAM params[]) {
  ctx->start(key, Mode::kVerify, nullptr, params);
  return 1;
}
int verify_recover_init(Context* ctx, KeyObject* key, const OSSL_PARAM params[]) {
  ctx->start(key, Mode::kVerifyRecover, nullptr, params);
  return 1;
}
int digest_sign_init(Context* ctx, const char* digest, KeyObject* key, const OSSL_PARAM params[]) {
  ctx->start(key, Mode::kDigestSign, digest, params);
  return 1;
}
int digest_verify_init(Context* ctx, const char* digest, KeyObject* key,
                       const OSSL_PARAM params[]) {
  ctx->start(key, Mode::kDigestVerify, digest, params);
  return 1;
}

int sign(Context* ctx, unsigned char* signature, std::size_t* size, std::size_t room,
         const unsigned char* input, std::size_t input_size) {
  if (ctx->takes_messages())
    ctx->sign_message(signature, size, room, {input, input_size});
  else
    ctx->operation().sign(signature, size, room, input, input_size);
  return 1;
}
int verify(Context* ctx, const unsigned char* signature, std::size_t size,
           const unsigned char* input, std::size_t input_size) {
  const bool good = ctx->takes_messages()
                        ? ctx->verify_message({signature, size}, {input, input_size})
                        : ctx->operation().verify(signature, size, input, input_size);
  return good ? 1 : 0;
}
int verify_recover(Context* ctx, unsigned char* output, std::size_t* size, std::size_t room,
                   const unsigned char* signature, std::size_t signature_size) {
  ctx->operation().verify_recover(output, size, room, signature, signature_size);
  return 1;
}

int digest_update(Context* ctx, const unsigned char* data, std::size_t size) {
  ctx->operation().update(data, size);
  return 1;
}
int digest_sign_final(Context* ctx, unsigned char* signature, std::size_t* size, std::size_t room) {
  ctx->operation().sign_final(signature, size, room);
  return 1;
}
int digest_sign(Context* ctx, unsigned char* signature, std::size_t* size, std::size_t room,
                const unsigned char* input, std::size_t input_size) {
  ctx->operation().digest_sign(signature, size, room, input, input_size);
  return 1;
}
int digest_verify_final(Context* ctx, const unsigned char* signature, std::size_t size) {
  return ctx->operation().verify_final(signature, size) ? 1 : 0;
}

int digest_verify(Context* ctx, const unsigned char* signature, std::size_t size,
                  const unsigned char* input, std::size_t input_size) {
  return ctx->operation().digest_verify(signature, size, input, input_size) ? 1 : 0;
}

int get_ctx_params(Context* ctx, OSSL_PARAM params[]) {
  ctx->operation().get_params(params);
  return 1;
}
int set_ctx_params(Context* ctx, const OSSL_PARAM params[]) {
  ctx->set_params(params);
  return 1;
}

namespace {

// What may be got and set before there is an operation to ask: the union for all kinds.
const OSSL_PARAM kAllParams[] = {
    OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, nullptr, 0),
    OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, nullptr, 0),
    OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PROPERTIES, nullptr, 0),
    OSSL_PARAM_size_t(OSSL_SIGNATURE_PARAM_DIGEST_SIZE, nullptr),
    OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, nullptr, 0),
    OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, nullptr, 0),
    OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_PROPERTIES, nullptr, 0),
    OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, nullptr, 0),
    OSSL_PARAM_utf8_string(kInstance, nullptr, 0),
    OSSL_PARAM_octet_string(kContextString, nullptr, 0),
    OSSL_PARAM_octet_string(kSignatureParam, nullptr, 0),
    OSSL_PARAM_END};

}  // namespace

const OSSL_PARAM* gettable_ctx_params(Context* ctx, Provider*) {
  return ctx != nullptr ? ctx->operation().gettable_params() : kAllParams;
}
const OSSL_PARAM* settable_ctx_params(Context* ctx, Provider*) {
  return ctx != nullptr ? ctx->settable_params() : kAllParams;
}

int get_ctx_md_params(Context* ctx, OSSL_PARAM params[]) {
  EVP_MD_CTX* const digest = ctx->operation().digest_context();
  return digest != nullptr ? EVP_MD_CTX_get_params(digest, params) : 0;
}
const OSSL_PARAM* gettable_ctx_md_params(Context* ctx) {
  EVP_MD_CTX* const digest = ctx->operation().digest_context();
  return digest != nullptr ? EVP_MD_gettable_ctx_params(EVP_MD_CTX_get0_md(digest)) : nullptr;
}
int set_ctx_md_params(Context* ctx, const OSSL_PARAM params[]) {
  EVP_MD_CTX* const digest = ctx->operation().digest_context();
  return digest != nullptr ? EVP_MD_CTX_set_params(digest, params) : 0;
}
const OSSL_PARAM* settable_ctx_md_params(Context* ctx) {
  EVP_MD_CTX* const digest = ctx->operation().digest_context();
  return digest != nullptr ? EVP_MD_settable_ctx_params(EVP_MD_CTX_get0_md(digest)) : nullptr;
}

}  // namespace hwid::ossl::signature
