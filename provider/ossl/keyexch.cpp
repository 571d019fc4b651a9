#include "provider/ossl/keyexch.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "provider/ossl/params.h"

namespace hwid::ossl::keyexch {

using core::Bytes;
using core::Error;
using core::Reason;
using core::Secret;

namespace {

void require(int result, const char* call) {
  if (result != 1)
    throw Error(Reason::kLibcrypto, std::string(call) + ": " + core::last_libcrypto_error());
}

// The bytes of RFC 7748.
Bytes raw_public_key(EVP_PKEY* key, std::size_t size) {
  Bytes bytes(size);
  require(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, bytes.data(), bytes.size(),
                                          &size),
          "EVP_PKEY_get_octet_string_param");
  bytes.resize(size);
  return bytes;
}

// 04 X Y, whatever form the key would be written in.
Bytes uncompressed_point(EVP_PKEY* key, std::size_t field_size) {
  Bytes point = {POINT_CONVERSION_UNCOMPRESSED};
  for (const char* const name : {OSSL_PKEY_PARAM_EC_PUB_X, OSSL_PKEY_PARAM_EC_PUB_Y}) {
    BIGNUM* number = nullptr;
    require(EVP_PKEY_get_bn_param(key, name, &number), "EVP_PKEY_get_bn_param");
    const core::BigNum coordinate(number);
    const std::size_t at = point.size();
    point.resize(at + field_size);
    if (BN_bn2binpad(number, &point[at], static_cast<int>(field_size)) < 0)
      throw Error(Reason::kLibcrypto, "BN_bn2binpad: " + core::last_libcrypto_error());
  }
  return point;
}

using Kdf = std::unique_ptr<EVP_KDF, core::FreeWith<EVP_KDF_free>>;
using KdfCtx = std::unique_ptr<EVP_KDF_CTX, core::FreeWith<EVP_KDF_CTX_free>>;

}  // namespace

Context::Context(const Context& other)
    : provider_(other.provider_),
      key_(other.key_),
      peer_(other.peer_),
      kdf_(other.kdf_),
      kdf_digest_(other.kdf_digest_),
      kdf_properties_(other.kdf_properties_),
      kdf_size_(other.kdf_size_),
      kdf_shared_info_(other.kdf_shared_info_.clone()) {
  if (!other.forward_) return;
  forward_.reset(EVP_PKEY_CTX_dup(other.forward_.get()));
  if (!forward_) throw std::bad_alloc();
}

void Context::start(KeyObject* key, const OSSL_PARAM params[]) {
  if (key == nullptr || key->pkey() == nullptr)
    throw Error(Reason::kNoPrivateKey, "ECDH: no key is set; initialize with one");
  key_ = KeyRef(key);
  peer_ = KeyRef();
  forward_.reset();
  if (key->key() == nullptr) {
    forward_.reset(
        EVP_PKEY_CTX_new_from_pkey(provider_.crypto().get(), key->pkey(), core::kNotHwid));
    if (!forward_) throw std::bad_alloc();
    require(EVP_PKEY_derive_init(forward_.get()), "EVP_PKEY_derive_init");
  }
  if (params != nullptr) set_params(params);
}

void Context::set_peer(KeyObject* peer) {
  if (key_.get() == nullptr || peer == nullptr || peer->pkey() == nullptr)
    throw Error(Reason::kBadParameter, "ECDH: a key and a peer's public key are needed");
  if (forward_)
    return require(EVP_PKEY_derive_set_peer(forward_.get(), peer->pkey()),
                   "EVP_PKEY_derive_set_peer");
  if (key_->algorithm() != peer->algorithm() ||
      EVP_PKEY_parameters_eq(key_->pkey(), peer->pkey()) != 1)
    bad_parameter("peer", "its curve is not that of " + place_text(key_->description()) +
                              "; use keys of one curve");
  // A point of another curve would give bits of the private key away.
  const core::EvpPkeyCtx check(
      EVP_PKEY_CTX_new_from_pkey(provider_.crypto().get(), peer->pkey(), core::kNotHwid));
  if (!check || EVP_PKEY_public_check_quick(check.get()) != 1)
    bad_parameter("peer", "it is no point of the curve; see where it came from");
  peer_ = KeyRef(peer);
}

void Context::derive(unsigned char* secret, std::size_t* size, std::size_t room) {
  if (forward_) {
    *size = room;
    return require(EVP_PKEY_derive(forward_.get(), secret, size), "EVP_PKEY_derive");
  }
  if (key_.get() == nullptr || peer_.get() == nullptr)
    throw Error(Reason::kBadParameter, "ECDH: a key and a peer's public key are needed");
  const std::size_t needed = has_kdf() ? kdf_size_ : key_->key()->public_key().field_size();
  *size = needed;
  if (secret == nullptr) return;
  if (room < needed)
    throw Error(Reason::kBufferTooSmall, "ECDH: the buffer has " + std::to_string(room) +
                                             " bytes, the secret " + std::to_string(needed) +
                                             "; ask for the size first");
  Secret made = shared_x();
  if (has_kdf()) made = expand(made);
  std::ranges::copy(made.reveal(), secret);
}

Secret Context::shared_x() const {
  const core::PublicKey& own = key_->key()->public_key();
  const bool is_ec = own.algorithm() == core::Algorithm::kEc;
  const Bytes point = is_ec ? uncompressed_point(peer_->pkey(), own.field_size())
                            : raw_public_key(peer_->pkey(), own.field_size());
  return key_->on_token(core::audit_field::kDerive,
                        is_ec ? "ECDH" : core::algorithm_name(own.algorithm()),
                        [&](const core::Key& key) { return key.derive(point); });
}

Secret Context::expand(const Secret& shared) const {
  const std::string properties =
      kdf_properties_.empty() ? core::kNotHwid : kdf_properties_ + "," + core::kNotHwid;
  const Kdf kdf(EVP_KDF_fetch(provider_.crypto().get(), kdf_.c_str(), properties.c_str()));
  const KdfCtx run(kdf ? EVP_KDF_CTX_new(kdf.get()) : nullptr);
  if (!run)
    throw Error(Reason::kUnsupported, "EVP_KDF_fetch: " + kdf_ +
                                          " is not offered by the active providers; activate one "
                                          "that has it");
  const auto bytes = [](const Secret& from) {
    return const_cast<std::uint8_t*>(from.reveal().data());
  };
  const std::array<OSSL_PARAM, 5> params{
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
                                       const_cast<char*>(kdf_digest_.c_str()), 0),
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_PROPERTIES,
                                       const_cast<char*>(properties.c_str()), 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, bytes(shared), shared.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, bytes(kdf_shared_info_),
                                        kdf_shared_info_.size()),
      OSSL_PARAM_construct_end()};
  Secret made(kdf_size_);
  require(EVP_KDF_derive(run.get(), made.writable().data(), made.size(), params.data()),
          "EVP_KDF_derive");
  return made;
}

void Context::set_params(const OSSL_PARAM params[]) {
  if (forward_) return require(EVP_PKEY_CTX_set_params(forward_.get(), params), "ECDH parameters");
  if (const auto kdf = text_param(params, OSSL_EXCHANGE_PARAM_KDF_TYPE)) {
    if (!kdf->empty() && *kdf != OSSL_KDF_NAME_X963KDF)
      bad_parameter(OSSL_EXCHANGE_PARAM_KDF_TYPE, "use " OSSL_KDF_NAME_X963KDF ", or none");
    kdf_ = *kdf;
  }
  if (const auto digest = text_param(params, OSSL_EXCHANGE_PARAM_KDF_DIGEST)) kdf_digest_ = *digest;
  if (const auto properties = text_param(params, OSSL_EXCHANGE_PARAM_KDF_DIGEST_PROPS))
    kdf_properties_ = *properties;
  const OSSL_PARAM* const size = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_KDF_OUTLEN);
  if (size != nullptr && OSSL_PARAM_get_size_t(size, &kdf_size_) != 1)
    bad_parameter(size->key, "it must be a number");
  const OSSL_PARAM* const info = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_KDF_UKM);
  if (info != nullptr) {
    const void* data = nullptr;
    std::size_t length = 0;
    if (OSSL_PARAM_get_octet_string_ptr(info, &data, &length) != 1)
      bad_parameter(info->key, "it must be bytes");
    kdf_shared_info_ = Secret(core::ByteView(static_cast<const std::uint8_t*>(data), length));
  }
  const OSSL_PARAM* const mode =
      OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE);
  int cofactor = -1;
  if (mode != nullptr &&
      (OSSL_PARAM_get_int(mode, &cofactor) != 1 || cofactor < -1 || cofactor > 1))
    bad_parameter(mode->key, "use -1, 0 or 1");  // alike: the curves have cofactor 1
}

void Context::get_params(OSSL_PARAM params[]) const {
  if (forward_) return require(EVP_PKEY_CTX_get_params(forward_.get(), params), "ECDH parameters");
  set_text(params, OSSL_EXCHANGE_PARAM_KDF_TYPE, kdf_.c_str());
  set_text(params, OSSL_EXCHANGE_PARAM_KDF_DIGEST, kdf_digest_.c_str());
  OSSL_PARAM* const size = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_KDF_OUTLEN);
  if (size != nullptr && OSSL_PARAM_set_size_t(size, kdf_size_) != 1)
    bad_parameter(size->key, "no room");
  OSSL_PARAM* const mode = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE);
  if (mode != nullptr && OSSL_PARAM_set_int(mode, 0) != 1) bad_parameter(mode->key, "no room");
}

Context* newctx(Provider* provider) { return new Context(*provider); }
void freectx(Context* ctx) { delete ctx; }
Context* dupctx(Context* ctx) { return new Context(*ctx); }

int init(Context* ctx, KeyObject* key, const OSSL_PARAM params[]) {
  ctx->start(key, params);
  return 1;
}
int set_peer(Context* ctx, KeyObject* peer) {
  ctx->set_peer(peer);
  return 1;
}
int derive(Context* ctx, unsigned char* secret, std::size_t* size, std::size_t room) {
  ctx->derive(secret, size, room);
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
      OSSL_PARAM_int(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE, nullptr),
      OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST, nullptr, 0),
      OSSL_PARAM_size_t(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, nullptr), OSSL_PARAM_END};
  return kGettable;
}
const OSSL_PARAM* settable_ctx_params(Context*, Provider*) {
  static const OSSL_PARAM kSettable[] = {
      OSSL_PARAM_int(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE, nullptr),
      OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST_PROPS, nullptr, 0),
      OSSL_PARAM_size_t(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, nullptr),
      OSSL_PARAM_octet_string(OSSL_EXCHANGE_PARAM_KDF_UKM, nullptr, 0),
      OSSL_PARAM_END};
  return kSettable;
}

}  // namespace hwid::ossl::keyexch
