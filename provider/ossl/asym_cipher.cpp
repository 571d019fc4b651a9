#include "provider/ossl/asym_cipher.h"

#include <openssl/core_names.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <array>

#include "provider/core/rsa_unpadding.h"
#include "provider/ossl/params.h"

namespace hwid::ossl::asym_cipher {

using core::ByteView;
using core::DecryptScheme;
using core::Error;
using core::Reason;
using core::Secret;
using Kind = core::DecryptScheme::Kind;

namespace {

constexpr std::size_t kPremasterSize = 48;
constexpr char kImplicitRejection[] = "implicit-rejection";  // since OpenSSL 3.2

constexpr std::array<ModeName, 3> kPadModes{{{RSA_PKCS1_PADDING, OSSL_PKEY_RSA_PAD_MODE_PKCSV15},
                                             {RSA_PKCS1_OAEP_PADDING, OSSL_PKEY_RSA_PAD_MODE_OAEP},
                                             {RSA_NO_PADDING, OSSL_PKEY_RSA_PAD_MODE_NONE}}};

void require(int result, const char* call) {
  if (result != 1)
    throw Error(Reason::kLibcrypto, std::string(call) + ": " + core::last_libcrypto_error());
}

}  // namespace

Context::Context(const Context& other)
    : provider_(other.provider_),
      key_(other.key_),
      pad_mode_(other.pad_mode_),
      oaep_(other.oaep_),
      mgf1_given_(other.mgf1_given_),
      implicit_rejection_(other.implicit_rejection_),
      client_version_(other.client_version_),
      negotiated_version_(other.negotiated_version_) {
  if (!other.forward_) return;
  forward_.reset(EVP_PKEY_CTX_dup(other.forward_.get()));
  if (!forward_) throw std::bad_alloc();
}

void Context::start(KeyObject* key, bool decrypting, const OSSL_PARAM params[]) {
  if (key != nullptr) key_ = KeyRef(key);
  if (key_.get() == nullptr || key_->pkey() == nullptr)
    throw Error(Reason::kNoPrivateKey, "RSA: no key is set; initialize with one");
  pad_mode_ = RSA_PKCS1_PADDING;
  implicit_rejection_ = true;
  forward_.reset();
  if (!decrypting || key_->key() == nullptr) {
    forward_.reset(
        EVP_PKEY_CTX_new_from_pkey(provider_.crypto().get(), key_->pkey(), core::kNotHwid));
    if (!forward_) throw std::bad_alloc();
    require(
        decrypting ? EVP_PKEY_decrypt_init(forward_.get()) : EVP_PKEY_encrypt_init(forward_.get()),
        decrypting ? "EVP_PKEY_decrypt_init" : "EVP_PKEY_encrypt_init");
  }
  if (params != nullptr) set_params(params);
}

void Context::run(unsigned char* output, std::size_t* size, std::size_t room, ByteView input) {
  if (key_.get() == nullptr)
    throw Error(Reason::kBadParameter, "RSA: not initialized; call an init function first");
  if (forward_) {
    *size = room;
    const bool decrypts = EVP_PKEY_CTX_get_operation(forward_.get()) == EVP_PKEY_OP_DECRYPT;
    const auto call = decrypts ? EVP_PKEY_decrypt : EVP_PKEY_encrypt;
    return require(call(forward_.get(), output, size, input.data(), input.size()),
                   decrypts ? "EVP_PKEY_decrypt" : "EVP_PKEY_encrypt");
  }
  const bool is_tls = pad_mode_ == RSA_PKCS1_WITH_TLS_PADDING;
  const std::size_t modulus = key_->key()->public_key().field_size();
  if (output == nullptr) {
    *size = is_tls ? kPremasterSize : modulus;
    return;
  }
  if (is_tls && client_version_ == 0)
    bad_parameter(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION,
                  "it is not set; set the version first");
  if (input.size() > modulus)
    throw Error(Reason::kBadParameter, "decrypt: " + place_text(key_->description()) +
                                           ": the ciphertext has " + std::to_string(input.size()) +
                                           " bytes, the key " + std::to_string(modulus) +
                                           "; see that it was made for this key");
  core::Bytes ciphertext(modulus - input.size(), 0);  // some writers leave out leading zeros
  ciphertext.insert(ciphertext.end(), input.begin(), input.end());
  const Secret message = open(ciphertext);
  if (message.size() > room)
    throw Error(Reason::kBufferTooSmall, "decrypt: the buffer has " + std::to_string(room) +
                                             " bytes; ask for the size first");
  std::ranges::copy(message.reveal(), output);
  *size = message.size();
}

Secret Context::open(ByteView ciphertext) const {
  switch (pad_mode_) {
    case RSA_NO_PADDING:
      return on_device(Kind::kRsaRaw, ciphertext);
    case RSA_PKCS1_OAEP_PADDING:
      return open_oaep(ciphertext);
    default:
      return open_pkcs1(ciphertext);
  }
}

Secret Context::on_device(Kind kind, ByteView ciphertext) const {
  DecryptScheme scheme = oaep_;
  scheme.kind = kind;
  if (!mgf1_given_) scheme.mgf1_digest = scheme.oaep_digest;
  constexpr std::array<const char*, 3> kNames = {"RSA raw", "RSA PKCS#1 v1.5", "RSA-OAEP"};
  return key_->on_token(core::audit_field::kDecrypt, kNames.at(static_cast<std::size_t>(kind)),
                        [&](const core::Key& key) { return key.decrypt(scheme, ciphertext); });
}

// The token's raw operation, and the padding off in constant time here: a token's own answer to a
// damaged padding is an oracle (Bleichenbacher). Where it lacks that, its answer must do.
Secret Context::open_pkcs1(ByteView ciphertext) const {
  const core::Libcrypto& crypto = provider_.crypto();
  const bool is_tls = pad_mode_ == RSA_PKCS1_WITH_TLS_PADDING;
  try {
    if (is_tls)
      return core::unpad_tls_premaster(crypto, on_device(Kind::kRsaRaw, ciphertext).reveal(),
                                       client_version_, negotiated_version_);
    if (!implicit_rejection_) {
      auto message = core::unpad_pkcs1_strictly(on_device(Kind::kRsaRaw, ciphertext).reveal());
      if (!message) throw_damaged();
      return std::move(*message);
    }
    const Secret& rejection =
        key_->rejection_key([this](ByteView fixed) { return on_device(Kind::kRsaRaw, fixed); });
    return core::unpad_pkcs1(crypto, rejection.reveal(), ciphertext,
                             on_device(Kind::kRsaRaw, ciphertext).reveal());
  } catch (const Error& error) {
    if (error.reason != Reason::kMechanismMissing) throw;
  }
  if (!is_tls) return on_device(Kind::kRsaPkcs1, ciphertext);
  Secret message;
  try {
    message = on_device(Kind::kRsaPkcs1, ciphertext);
  } catch (const Error& error) {
    // What the token says of a damaged padding must not show (Bleichenbacher).
    if (error.reason != Reason::kDecryptionFailed && error.reason != Reason::kDeviceError) throw;
  }
  return premaster_of(message);
}

// Back into the block that it came from, so that one function decides on it.
Secret Context::premaster_of(const Secret& message) const {
  const std::size_t modulus = key_->key()->public_key().field_size();
  Secret block(modulus);
  std::ranges::fill(block.writable(), std::uint8_t{0xff});
  block.writable()[0] = 0;
  block.writable()[1] = 2;
  if (message.size() + 11 <= modulus) {
    block.writable()[modulus - message.size() - 1] = 0;
    std::ranges::copy(message.reveal(),
                      block.writable().end() - static_cast<std::ptrdiff_t>(message.size()));
  }
  return core::unpad_tls_premaster(provider_.crypto(), block.reveal(), client_version_,
                                   negotiated_version_);
}

// The token's own OAEP, which may be all that it allows; raw where it has none. With a label the
// other way round: SoftHSM overlooks it, and it is there to be checked.
Secret Context::open_oaep(ByteView ciphertext) const {
  const bool raw_first = !oaep_.label.empty();
  try {
    return raw_first ? open_oaep_raw(ciphertext) : on_device(Kind::kRsaOaep, ciphertext);
  } catch (const Error& error) {
    if (error.reason != Reason::kMechanismMissing) throw;
  }
  return raw_first ? on_device(Kind::kRsaOaep, ciphertext) : open_oaep_raw(ciphertext);
}

Secret Context::open_oaep_raw(ByteView ciphertext) const {
  DecryptScheme scheme = oaep_;
  if (!mgf1_given_) scheme.mgf1_digest = scheme.oaep_digest;
  auto message =
      core::unpad_oaep(provider_.crypto(), scheme, on_device(Kind::kRsaRaw, ciphertext).reveal());
  if (!message) throw_damaged();
  return std::move(*message);
}

void Context::throw_damaged() const {
  throw Error(Reason::kDecryptionFailed,
              "decrypt: " + place_text(key_->description()) +
                  ": the ciphertext is damaged, or was made for another key, padding, digest or "
                  "label; see who made it");
}

void Context::set_params(const OSSL_PARAM params[]) {
  if (forward_) return require(EVP_PKEY_CTX_set_params(forward_.get(), params), "RSA parameters");
  const auto digest = [&](const char* name, const char* properties) {
    const auto text = text_param(params, name);
    if (!text) return core::Digest::kNone;
    const core::EvpMd md = provider_.crypto().fetch_digest(
        *text, text_param(params, properties).value_or(std::string()));
    const core::Digest known = core::digest_by_name(EVP_MD_get0_name(md.get()));
    if (known == core::Digest::kOther) bad_parameter(name, "unknown digest " + *text);
    return known;
  };
  if (const auto mode = mode_param(params, OSSL_ASYM_CIPHER_PARAM_PAD_MODE, kPadModes)) {
    if (*mode != RSA_PKCS1_PADDING && *mode != RSA_PKCS1_OAEP_PADDING && *mode != RSA_NO_PADDING &&
        *mode != RSA_PKCS1_WITH_TLS_PADDING)
      bad_parameter(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, "use pkcs1, oaep or none to decrypt");
    pad_mode_ = *mode;
  }
  using core::Digest;
  if (const Digest oaep =
          digest(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST_PROPS);
      oaep != Digest::kNone)
    oaep_.oaep_digest = oaep;
  if (const Digest mgf1 =
          digest(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST_PROPS);
      mgf1 != Digest::kNone) {
    oaep_.mgf1_digest = mgf1;
    mgf1_given_ = true;
  }
  if (const OSSL_PARAM* const label =
          OSSL_PARAM_locate_const(params, OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL)) {
    const void* data = nullptr;
    std::size_t size = 0;
    if (OSSL_PARAM_get_octet_string_ptr(label, &data, &size) != 1)
      bad_parameter(label->key, "it must be bytes");
    const auto* const bytes = static_cast<const std::uint8_t*>(data);
    oaep_.label.assign(bytes, bytes + size);
  }
  if (const auto version = number_param(params, OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION))
    client_version_ = *version;
  if (const auto version = number_param(params, OSSL_ASYM_CIPHER_PARAM_TLS_NEGOTIATED_VERSION))
    negotiated_version_ = *version;
  if (const auto wanted = number_param(params, kImplicitRejection))
    implicit_rejection_ = *wanted != 0;
}

void Context::get_params(OSSL_PARAM params[]) const {
  if (forward_) return require(EVP_PKEY_CTX_get_params(forward_.get(), params), "RSA parameters");
  set_mode(OSSL_PARAM_locate(params, OSSL_ASYM_CIPHER_PARAM_PAD_MODE), pad_mode_, kPadModes);
  set_text(params, OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, core::digest_name(oaep_.oaep_digest));
  set_text(params, OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST,
           core::digest_name(mgf1_given_ ? oaep_.mgf1_digest : oaep_.oaep_digest));
  OSSL_PARAM* const label = OSSL_PARAM_locate(params, OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL);
  if (label != nullptr &&
      OSSL_PARAM_set_octet_ptr(label, oaep_.label.data(), oaep_.label.size()) != 1)
    bad_parameter(label->key, "no room");
}

Context* newctx(Provider* provider) { return new Context(*provider); }
void freectx(Context* ctx) { delete ctx; }
Context* dupctx(Context* ctx) { return new Context(*ctx); }

int encrypt_init(Context* ctx, KeyObject* key, const OSSL_PARAM params[]) {
  ctx->start(key, false, params);
  return 1;
}
int decrypt_init(Context* ctx, KeyObject* key, const OSSL_PARAM params[]) {
  ctx->start(key, true, params);
  return 1;
}
int run(Context* ctx, unsigned char* output, std::size_t* size, std::size_t room,
        const unsigned char* input, std::size_t input_size) {
  ctx->run(output, size, room, {input, input_size});
  return 1;
}
int get_ctx_params(Context* ctx, OSSL_PARAM params[]) {
  ctx->get_params(params);
  return 1;
}
int set_ctx_params(Context* ctx, const OSSL_PARAM params[]) {
  if (params != nullptr) ctx->set_params(params);
  return 1;
}

const OSSL_PARAM* gettable_ctx_params(Context*, Provider*) {
  static const OSSL_PARAM kGettable[] = {
      OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, nullptr, 0),
      OSSL_PARAM_octet_ptr(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, nullptr, 0), OSSL_PARAM_END};
  return kGettable;
}
const OSSL_PARAM* settable_ctx_params(Context*, Provider*) {
  static const OSSL_PARAM kSettable[] = {
      OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST_PROPS, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST_PROPS, nullptr, 0),
      OSSL_PARAM_octet_string(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, nullptr, 0),
      OSSL_PARAM_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, nullptr),
      OSSL_PARAM_uint(OSSL_ASYM_CIPHER_PARAM_TLS_NEGOTIATED_VERSION, nullptr),
      OSSL_PARAM_uint(kImplicitRejection, nullptr),
      OSSL_PARAM_END};
  return kSettable;
}

}  // namespace hwid::ossl::asym_cipher
