// Signature algorithms whose name says everything, and messages, whole or in parts
// (EVP_PKEY_sign_message_init(3), OpenSSL 3.4).
#include <openssl/core_names.h>
#include <openssl/rsa.h>

#include <array>
#include <vector>

#include "provider/ossl/params.h"
#include "provider/ossl/signature.h"

namespace hwid::ossl::signature {
namespace {

using core::Algorithm;
using core::ByteView;
using core::Digest;
using core::Error;
using core::Reason;

const char* digest_of(const Preset* preset) {
  if (preset == nullptr || preset->digest == Digest::kNone) return "";
  return core::digest_name(preset->digest);
}

const OSSL_PARAM kPresetParams[] = {OSSL_PARAM_octet_string(kSignatureParam, nullptr, 0),
                                    OSSL_PARAM_END};
const OSSL_PARAM kInstanceParams[] = {OSSL_PARAM_octet_string(kSignatureParam, nullptr, 0),
                                      OSSL_PARAM_octet_string(kContextString, nullptr, 0),
                                      OSSL_PARAM_END};

}  // namespace

void Context::start(KeyObject* key, Mode mode, const char* digest, const OSSL_PARAM params[]) {
  takes_messages_ = false;
  begin(key, mode, digest == nullptr ? "" : digest, params);
}

void Context::start_message(KeyObject* key, Mode mode, const OSSL_PARAM params[]) {
  takes_messages_ = true;
  begin(key, mode, digest_of(preset_), params);
}

// A digest operation has its digest from the start.
void Context::apply_preset(Mode mode) {
  std::vector<OSSL_PARAM> fixed;
  const auto add = [&fixed](const char* name, const char* value) {
    fixed.push_back(OSSL_PARAM_construct_utf8_string(name, const_cast<char*>(value), 0));
  };
  if (preset_->digest != Digest::kNone && mode != Mode::kDigestSign && mode != Mode::kDigestVerify)
    add(OSSL_SIGNATURE_PARAM_DIGEST, core::digest_name(preset_->digest));
  if (core::is_rsa(preset_->key))
    add(OSSL_SIGNATURE_PARAM_PAD_MODE, OSSL_PKEY_RSA_PAD_MODE_PKCSV15);
  if (preset_->instance != nullptr) add(kInstance, preset_->instance);
  fixed.push_back(OSSL_PARAM_construct_end());
  operation_->set_params(fixed.data());
}

// Who sets it to what it is does no harm.
void Context::refuse_what_is_fixed(const OSSL_PARAM params[]) const {
  const auto fixed = [](const char* name) {
    bad_parameter(name,
                  "it is fixed by the algorithm's name; leave it out, or choose another algorithm");
  };
  // Each instance of EdDSA is an algorithm by itself (EVP_SIGNATURE-ED25519(7)).
  if (takes_messages_ && OSSL_PARAM_locate_const(params, kInstance) != nullptr) fixed(kInstance);
  if (preset_ == nullptr) return;
  const auto digest = text_param(params, OSSL_SIGNATURE_PARAM_DIGEST);
  if (digest && core::digest_by_name(*digest) != preset_->digest)
    fixed(OSSL_SIGNATURE_PARAM_DIGEST);
  constexpr std::array<ModeName, 1> kPkcs1{{{RSA_PKCS1_PADDING, OSSL_PKEY_RSA_PAD_MODE_PKCSV15}}};
  const auto mode = mode_param(params, OSSL_SIGNATURE_PARAM_PAD_MODE, kPkcs1);
  if (mode && *mode != RSA_PKCS1_PADDING) fixed(OSSL_SIGNATURE_PARAM_PAD_MODE);
}

void Context::set_params(const OSSL_PARAM params[]) {
  if (params == nullptr) return;
  if (const auto signature = bytes_param(params, kSignatureParam))
    expected_.assign(signature->begin(), signature->end());
  refuse_what_is_fixed(params);
  // A name that says the digest leaves nothing to set.
  if (preset_ == nullptr || preset_->instance != nullptr) operation().set_params(params);
}

const OSSL_PARAM* Context::settable_params() const {
  const OSSL_PARAM* const of_operation = operation().settable_params();
  return takes_messages_ && core::is_edwards(key_->algorithm()) ? kInstanceParams : of_operation;
}
const OSSL_PARAM* settable_preset_params(Context*, Provider*) { return kPresetParams; }
const OSSL_PARAM* settable_instance_params(Context*, Provider*) { return kInstanceParams; }

// False where only the size is asked for, which is then in `size`.
bool Context::has_room(const unsigned char* signature, std::size_t* size, std::size_t room) const {
  const auto largest = static_cast<std::size_t>(EVP_PKEY_get_size(key_->pkey()));
  if (signature == nullptr) {
    *size = largest;
    return false;
  }
  if (room < largest)
    throw Error(Reason::kBufferTooSmall, "signature: the buffer has " + std::to_string(room) +
                                             " bytes, a signature up to " +
                                             std::to_string(largest) + "; ask for the size first");
  return true;
}

void Context::require_no_parts() const {
  if (message_)
    throw Error(Reason::kBadParameter,
                "signature: parts of a message have come; finish it, or initialize for a new one");
}

std::unique_ptr<Operation> Context::take_message() {
  return message_ ? std::move(message_) : operation().duplicate();
}

void Context::update_message(ByteView part) {
  if (!message_) message_ = operation().duplicate();
  message_->update(part.data(), part.size());
}

void Context::sign_message(unsigned char* signature, std::size_t* size, std::size_t room,
                           ByteView message) {
  require_no_parts();
  if (has_room(signature, size, room))
    take_message()->digest_sign(signature, size, room, message.data(), message.size());
}

bool Context::verify_message(ByteView signature, ByteView message) {
  require_no_parts();
  return take_message()->digest_verify(signature.data(), signature.size(), message.data(),
                                       message.size());
}

void Context::sign_parts(unsigned char* signature, std::size_t* size, std::size_t room) {
  if (has_room(signature, size, room)) take_message()->sign_final(signature, size, room);
}

bool Context::verify_parts() {
  if (expected_.empty())
    throw Error(Reason::kBadParameter,
                "signature: there is none to verify; set it first (EVP_PKEY_CTX_set_signature)");
  return take_message()->verify_final(expected_.data(), expected_.size());
}

Context* new_context(Provider* provider, const char* properties, const Preset* preset) {
  return new Context(*provider, properties, preset);
}

int sign_message_init(Context* ctx, KeyObject* key, const OSSL_PARAM params[]) {
  ctx->start_message(key, Mode::kDigestSign, params);
  return 1;
}
int verify_message_init(Context* ctx, KeyObject* key, const OSSL_PARAM params[]) {
  ctx->start_message(key, Mode::kDigestVerify, params);
  return 1;
}
int message_update(Context* ctx, const unsigned char* data, std::size_t size) {
  ctx->update_message({data, size});
  return 1;
}
int sign_message_final(Context* ctx, unsigned char* signature, std::size_t* size,
                       std::size_t room) {
  ctx->sign_parts(signature, size, room);
  return 1;
}
int verify_message_final(Context* ctx) { return ctx->verify_parts() ? 1 : 0; }

template <Algorithm... A>
const char** key_types() {
  static constexpr std::array<const char*, sizeof...(A) + 1> kTypes{core::algorithm_name(A)...,
                                                                    nullptr};
  return const_cast<const char**>(kTypes.data());
}
template const char** key_types<Algorithm::kRsa, Algorithm::kRsaPss>();
template const char** key_types<Algorithm::kEd25519, Algorithm::kEd448>();
template const char** key_types<Algorithm::kRsa>();
template const char** key_types<Algorithm::kEc>();
template const char** key_types<Algorithm::kEd25519>();
template const char** key_types<Algorithm::kEd448>();

}  // namespace hwid::ossl::signature
