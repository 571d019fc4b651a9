// Signature algorithms whose name says everything, and messages in parts
// (EVP_PKEY_sign_message_init, OpenSSL 3.4).
#include <openssl/core_names.h>

#include <array>

#include "provider/ossl/params.h"
#include "provider/ossl/signature.h"

namespace hwid::ossl::signature {
namespace {

using core::Algorithm;
using core::Digest;
using core::Error;
using core::Reason;

const char* digest_of(const Preset* preset) {
  return preset == nullptr || preset->digest == Digest::kNone ? ""
                                                              : core::digest_name(preset->digest);
}

}  // namespace

void Context::start(KeyObject* key, Mode mode, const char* digest, const OSSL_PARAM params[]) {
  takes_message_ = false;
  begin(key, mode, digest == nullptr ? "" : digest, params);
}

void Context::start_message(KeyObject* key, Mode mode, const OSSL_PARAM params[]) {
  takes_message_ = true;
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

void Context::refuse_what_is_fixed(const OSSL_PARAM params[]) const {
  for (const char* const name :
       {OSSL_SIGNATURE_PARAM_DIGEST, OSSL_SIGNATURE_PARAM_PAD_MODE, kInstance}) {
    if (OSSL_PARAM_locate_const(params, name) != nullptr)
      bad_parameter(name,
                    "it is fixed by the algorithm's name; leave it out, or choose another "
                    "algorithm");
  }
}

void Context::set_params(const OSSL_PARAM params[]) {
  if (params == nullptr) return;
  const OSSL_PARAM* const signature = OSSL_PARAM_locate_const(params, kSignatureParam);
  if (signature != nullptr) {
    const void* data = nullptr;
    std::size_t size = 0;
    if (OSSL_PARAM_get_octet_string_ptr(signature, &data, &size) != 1)
      bad_parameter(kSignatureParam, "it must be bytes");
    const auto* const bytes = static_cast<const unsigned char*>(data);
    expected_.assign(bytes, bytes + size);
  }
  if (preset_ != nullptr) refuse_what_is_fixed(params);
  operation().set_params(params);
}

const OSSL_PARAM* Context::settable_params() const {
  static const OSSL_PARAM kNamed[] = {OSSL_PARAM_octet_string(kSignatureParam, nullptr, 0),
                                      OSSL_PARAM_END};
  static const OSSL_PARAM kWithContext[] = {OSSL_PARAM_octet_string(kSignatureParam, nullptr, 0),
                                            OSSL_PARAM_octet_string(kContextString, nullptr, 0),
                                            OSSL_PARAM_END};
  if (preset_ == nullptr) return operation().settable_params();
  return preset_->instance != nullptr ? kWithContext : kNamed;
}

const core::Bytes& Context::expected() const {
  if (expected_.empty())
    throw Error(Reason::kBadParameter,
                "signature: there is none to verify; set it first (EVP_PKEY_CTX_set_signature)");
  return expected_;
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
int verify_message_final(Context* ctx) {
  const core::Bytes& signature = ctx->expected();
  return ctx->operation().verify_final(signature.data(), signature.size()) ? 1 : 0;
}

template <Algorithm... A>
const char** key_types() {
  static constexpr std::array<const char*, sizeof...(A) + 1> kTypes{core::algorithm_name(A)...,
                                                                    nullptr};
  return const_cast<const char**>(kTypes.data());
}
template const char** key_types<Algorithm::kRsa, Algorithm::kRsaPss>();
template const char** key_types<Algorithm::kRsa>();
template const char** key_types<Algorithm::kEc>();
template const char** key_types<Algorithm::kEd25519>();
template const char** key_types<Algorithm::kEd448>();

}  // namespace hwid::ossl::signature
