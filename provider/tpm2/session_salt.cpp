// make_salt: session_crypto.h.
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <tss2/tss2_mu.h>

#include <algorithm>

#include "provider/core/error.h"
#include "provider/tpm2/errors.h"
#include "provider/tpm2/public_area.h"
#include "provider/tpm2/session_crypto.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::ByteView;
using core::Error;
using core::EvpPkey;
using core::EvpPkeyCtx;
using core::Reason;
using core::Secret;

namespace {

void require(bool worked, const char* call) {
  if (worked) return;
  throw Error(Reason::kLibcrypto,
              std::string(call) + ": " + core::last_libcrypto_error() +
                  ": a session with the TPM cannot be salted; name another salt key (parent)");
}

const char* hash_name(TPMI_ALG_HASH algorithm) {
  const core::Digest digest = digest_of(algorithm);
  if (digest != core::Digest::kOther) return core::digest_name(digest);
  throw Error(Reason::kUnsupported, "the TPM's salt key has the name algorithm " +
                                        algorithm_text(algorithm) + "; name another one (parent)");
}

const char* curve_name(TPMI_ECC_CURVE curve) {
  switch (curve) {
    case TPM2_ECC_NIST_P224:
      return "P-224";
    case TPM2_ECC_NIST_P256:
      return "P-256";
    case TPM2_ECC_NIST_P384:
      return "P-384";
    case TPM2_ECC_NIST_P521:
      return "P-521";
    default:
      throw Error(Reason::kUnsupported,
                  "the TPM's salt key is on curve " + hex(curve) + "; name another one (parent)");
  }
}

EvpPkey make_public(const core::Libcrypto& crypto, const char* type, OSSL_PARAM_BLD* builder) {
  const core::Params params(OSSL_PARAM_BLD_to_param(builder));
  const EvpPkeyCtx context(EVP_PKEY_CTX_new_from_name(crypto.get(), type, core::kNotHwid));
  EVP_PKEY* key = nullptr;
  require(params && context && EVP_PKEY_fromdata_init(context.get()) == 1 &&
              EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) == 1,
          "EVP_PKEY_fromdata");
  return EvpPkey(key);
}

// One coordinate of a point, or a secret of that kind, as long as the curve's field.
Bytes coordinate(EVP_PKEY* key, const char* name, std::size_t size) {
  BIGNUM* number = nullptr;
  require(EVP_PKEY_get_bn_param(key, name, &number) == 1, "EVP_PKEY_get_bn_param");
  const core::BigNum owned(number);
  Bytes bytes(size);
  require(BN_bn2binpad(number, bytes.data(), static_cast<int>(size)) >= 0, "BN_bn2binpad");
  return bytes;
}

// 04 || x || y with both as long as the field: a TPM may leave leading zeros out.
Bytes uncompressed(const TPMS_ECC_POINT& point, std::size_t size) {
  Bytes bytes(1 + 2 * size);
  bytes[0] = POINT_CONVERSION_UNCOMPRESSED;
  const auto put = [&](const TPM2B_ECC_PARAMETER& number, std::size_t end) {
    if (number.size > size)
      throw Error(Reason::kBadParameter,
                  "the TPM's salt key has a point that is too long for its curve; use another one");
    std::copy_n(number.buffer, number.size,
                bytes.begin() + static_cast<std::ptrdiff_t>(end - number.size));
  };
  put(point.x, 1 + size);
  put(point.y, 1 + 2 * size);
  return bytes;
}

std::size_t field_size(EVP_PKEY* key) {
  return (static_cast<std::size_t>(EVP_PKEY_get_bits(key)) + 7) / 8;
}

EvpPkey peer_of(const core::Libcrypto& crypto, const TPMT_PUBLIC& key, std::size_t size) {
  const core::ParamBuilder builder(OSSL_PARAM_BLD_new());
  const Bytes point = uncompressed(key.unique.ecc, size);
  require(
      builder &&
          OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME,
                                          curve_name(key.parameters.eccDetail.curveID), 0) == 1 &&
          OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                           point.size()) == 1,
      "OSSL_PARAM_BLD_push");
  return make_public(crypto, "EC", builder.get());
}

EvpPkey ephemeral_key(const core::Libcrypto& crypto, const char* curve) {
  const EvpPkeyCtx context(EVP_PKEY_CTX_new_from_name(crypto.get(), "EC", core::kNotHwid));
  EVP_PKEY* key = nullptr;
  require(context && EVP_PKEY_keygen_init(context.get()) == 1 &&
              EVP_PKEY_CTX_set_group_name(context.get(), curve) == 1 &&
              EVP_PKEY_generate(context.get(), &key) == 1,
          "EVP_PKEY_generate");
  return EvpPkey(key);
}

Secret shared_secret(const core::Libcrypto& crypto, EVP_PKEY* own, EVP_PKEY* peer) {
  const EvpPkeyCtx context(EVP_PKEY_CTX_new_from_pkey(crypto.get(), own, core::kNotHwid));
  std::size_t size = 0;
  require(context && EVP_PKEY_derive_init(context.get()) == 1 &&
              EVP_PKEY_derive_set_peer(context.get(), peer) == 1 &&
              EVP_PKEY_derive(context.get(), nullptr, &size) == 1,
          "EVP_PKEY_derive");
  Secret secret(size);
  require(EVP_PKEY_derive(context.get(), secret.writable().data(), &size) == 1, "EVP_PKEY_derive");
  secret.truncate(size);
  return secret;
}

// KDFe (Part 1, 11.4.10.3): one block, as nameAlg is what asks for its own length.
Secret kdfe(const core::Libcrypto& crypto, TPMI_ALG_HASH algorithm, ByteView z, ByteView u,
            ByteView v) {
  static constexpr std::uint8_t kCounter[] = {0, 0, 0, 1};
  static constexpr char kLabel[] = "SECRET";  // with its terminating zero
  const core::EvpMd md = crypto.fetch_digest(hash_name(algorithm));
  const core::EvpMdCtx hash(EVP_MD_CTX_new());
  Secret seed(static_cast<std::size_t>(EVP_MD_get_size(md.get())));
  require(hash && EVP_DigestInit_ex2(hash.get(), md.get(), nullptr) == 1 &&
              EVP_DigestUpdate(hash.get(), kCounter, sizeof kCounter) == 1 &&
              EVP_DigestUpdate(hash.get(), z.data(), z.size()) == 1 &&
              EVP_DigestUpdate(hash.get(), kLabel, sizeof kLabel) == 1 &&
              EVP_DigestUpdate(hash.get(), u.data(), u.size()) == 1 &&
              EVP_DigestUpdate(hash.get(), v.data(), v.size()) == 1 &&
              EVP_DigestFinal_ex(hash.get(), seed.writable().data(), nullptr) == 1,
          "EVP_Digest");
  return seed;
}

Salt ec_salt(const core::Libcrypto& crypto, const TPMT_PUBLIC& key) {
  const char* const curve = curve_name(key.parameters.eccDetail.curveID);
  const EvpPkey own = ephemeral_key(crypto, curve);
  const std::size_t size = field_size(own.get());
  const EvpPkey peer = peer_of(crypto, key, size);
  const Secret z = shared_secret(crypto, own.get(), peer.get());
  TPMS_ECC_POINT point{};
  const auto put = [&](const char* name, TPM2B_ECC_PARAMETER& to) {
    const Bytes bytes = coordinate(own.get(), name, size);
    to.size = static_cast<UINT16>(size);
    std::ranges::copy(bytes, to.buffer);
  };
  put(OSSL_PKEY_PARAM_EC_PUB_X, point.x);
  put(OSSL_PKEY_PARAM_EC_PUB_Y, point.y);
  const TPM2B_ECC_PARAMETER& x = key.unique.ecc.x;
  Salt salt{
      kdfe(crypto, key.nameAlg, z.reveal(), {point.x.buffer, point.x.size}, {x.buffer, x.size}),
      {}};
  std::size_t marshalled = 0;
  check(Tss2_MU_TPMS_ECC_POINT_Marshal(&point, salt.encrypted.secret, sizeof salt.encrypted.secret,
                                       &marshalled),
        "Tss2_MU_TPMS_ECC_POINT_Marshal", {});
  salt.encrypted.size = static_cast<UINT16>(marshalled);
  return salt;
}

EvpPkey rsa_public(const core::Libcrypto& crypto, const TPMT_PUBLIC& key) {
  const std::uint32_t exponent = key.parameters.rsaDetail.exponent;
  const core::BigNum n(BN_bin2bn(key.unique.rsa.buffer, key.unique.rsa.size, nullptr));
  const core::BigNum e(BN_new());
  const core::ParamBuilder builder(OSSL_PARAM_BLD_new());
  require(n && e && builder && BN_set_word(e.get(), exponent != 0 ? exponent : RSA_F4) == 1 &&
              OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) == 1 &&
              OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) == 1,
          "OSSL_PARAM_BLD_push");
  return make_public(crypto, "RSA", builder.get());
}

// OAEP with nameAlg and the label "SECRET", terminating zero included (Part 1, B.10.2).
Salt rsa_salt(const core::Libcrypto& crypto, const TPMT_PUBLIC& key) {
  char label[] = "SECRET";
  // OpenSSL only reads these.
  auto* const hash = const_cast<char*>(hash_name(key.nameAlg));
  auto* const oaep = const_cast<char*>(OSSL_PKEY_RSA_PAD_MODE_OAEP);
  auto* const properties = const_cast<char*>(core::kNotHwid);
  const std::array<OSSL_PARAM, 7> params = {
      OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, oaep, 0),
      OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, hash, 0),
      OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST_PROPS, properties, 0),
      OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, hash, 0),
      OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST_PROPS, properties, 0),
      OSSL_PARAM_construct_octet_string(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, label, sizeof label),
      OSSL_PARAM_construct_end()};
  Salt salt{Secret(hash_size(key.nameAlg)), {}};
  require(RAND_priv_bytes_ex(crypto.get(), salt.value.writable().data(), salt.value.size(), 0) == 1,
          "RAND_priv_bytes");
  const EvpPkey recipient = rsa_public(crypto, key);
  const EvpPkeyCtx context(
      EVP_PKEY_CTX_new_from_pkey(crypto.get(), recipient.get(), core::kNotHwid));
  std::size_t size = sizeof salt.encrypted.secret;
  require(context && EVP_PKEY_encrypt_init_ex(context.get(), params.data()) == 1 &&
              EVP_PKEY_encrypt(context.get(), salt.encrypted.secret, &size,
                               salt.value.reveal().data(), salt.value.size()) == 1,
          "EVP_PKEY_encrypt");
  salt.encrypted.size = static_cast<UINT16>(size);
  return salt;
}

}  // namespace

Salt make_salt(const core::Libcrypto& crypto, const TPMT_PUBLIC& key) {
  if ((key.objectAttributes & TPMA_OBJECT_DECRYPT) == 0)
    throw Error(Reason::kBadConfiguration,
                "the TPM's salt key may not decrypt; name a storage key (parent)");
  if (key.type == TPM2_ALG_ECC) return ec_salt(crypto, key);
  if (key.type == TPM2_ALG_RSA) return rsa_salt(crypto, key);
  throw Error(Reason::kBadConfiguration,
              "the TPM's salt key is neither RSA nor EC; name another one (parent)");
}

}  // namespace hwid::tpm2
