// make_salt, make_seed: session_crypto.h.
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rand.h>
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
                  ": no secret can be encrypted for the TPM; use another key of it");
}

const char* hash_name(TPMI_ALG_HASH algorithm, const SeedUse& use) {
  const core::Digest digest = digest_of(algorithm);
  if (digest != core::Digest::kOther) return core::digest_name(digest);
  throw Error(Reason::kUnsupported, std::string(use.whose) + " has the name algorithm " +
                                        algorithm_text(algorithm) + "; " + use.next);
}

// The public half, and of one that is no good whose it is.
core::PublicKey recipient_key(const core::Libcrypto& crypto, const TPMT_PUBLIC& key,
                              const SeedUse& use) {
  try {
    return public_key(crypto, key);
  } catch (const Error& error) {
    throw Error(error.reason, std::string(use.whose) + ": " + error.what(), error.where);
  }
}

// Labels are literals, and their terminating zero is part of what is hashed.
ByteView label_of(const SeedUse& use) {
  return {reinterpret_cast<const std::uint8_t*>(use.label.data()), use.label.size() + 1};
}

// On the curve of `peer`.
EvpPkey ephemeral_key(const core::Libcrypto& crypto, EVP_PKEY* peer) {
  const EvpPkeyCtx context(EVP_PKEY_CTX_new_from_pkey(crypto.get(), peer, core::kNotHwid));
  EVP_PKEY* key = nullptr;
  require(context && EVP_PKEY_keygen_init(context.get()) == 1 &&
              EVP_PKEY_generate(context.get(), &key) == 1,
          "EVP_PKEY_generate");
  return EvpPkey(key);
}

// x || y, both as long as the curve's field.
Bytes coordinates(EVP_PKEY* key) {
  Bytes point(1 + 2 * TPM2_MAX_ECC_KEY_BYTES);
  std::size_t size = 0;
  require(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size(),
                                          &size) == 1 &&
              size > 1 && point[0] == POINT_CONVERSION_UNCOMPRESSED,
          "EVP_PKEY_get_octet_string_param");
  return {point.begin() + 1, point.begin() + static_cast<std::ptrdiff_t>(size)};
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
Secret kdfe(const core::Libcrypto& crypto, TPMI_ALG_HASH algorithm, const SeedUse& use, ByteView z,
            ByteView u, ByteView v) {
  static constexpr std::uint8_t kCounter[] = {0, 0, 0, 1};
  const core::EvpMd md = crypto.fetch_digest(hash_name(algorithm, use));
  Secret seed(static_cast<std::size_t>(EVP_MD_get_size(md.get())));
  hash_into(md.get(), {kCounter, z, label_of(use), u, v}, seed.writable());
  return seed;
}

Salt ec_seed(const core::Libcrypto& crypto, const TPMT_PUBLIC& key, const SeedUse& use) {
  if (key.parameters.eccDetail.curveID == TPM2_ECC_NIST_P192)
    throw Error(Reason::kUnsupported, std::string(use.whose) + " is on curve P-192; " + use.next);
  const core::PublicKey peer = recipient_key(crypto, key, use);
  const EvpPkey own = ephemeral_key(crypto, peer.pkey());
  const Secret z = shared_secret(crypto, own.get(), peer.pkey());
  const Bytes both = coordinates(own.get());
  const std::size_t size = both.size() / 2;
  TPMS_ECC_POINT point{};
  point.x.size = point.y.size = static_cast<UINT16>(size);
  std::ranges::copy(ByteView(both).first(size), point.x.buffer);
  std::ranges::copy(ByteView(both).last(size), point.y.buffer);
  const TPM2B_ECC_PARAMETER& x = key.unique.ecc.x;  // as the TPM itself has it
  Salt salt{kdfe(crypto, key.nameAlg, use, z.reveal(), {point.x.buffer, point.x.size},
                 {x.buffer, x.size}),
            {}};
  std::size_t marshalled = 0;
  check(Tss2_MU_TPMS_ECC_POINT_Marshal(&point, salt.encrypted.secret, sizeof salt.encrypted.secret,
                                       &marshalled),
        "Tss2_MU_TPMS_ECC_POINT_Marshal", {});
  salt.encrypted.size = static_cast<UINT16>(marshalled);
  return salt;
}

// OAEP with nameAlg and the label, terminating zero included (Part 1, B.10.2).
Salt rsa_seed(const core::Libcrypto& crypto, const TPMT_PUBLIC& key, const SeedUse& use) {
  // OpenSSL only reads these.
  auto* const label = const_cast<char*>(use.label.data());
  auto* const hash = const_cast<char*>(hash_name(key.nameAlg, use));
  auto* const oaep = const_cast<char*>(OSSL_PKEY_RSA_PAD_MODE_OAEP);
  auto* const properties = const_cast<char*>(core::kNotHwid);
  const std::array<OSSL_PARAM, 7> params = {
      OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, oaep, 0),
      OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, hash, 0),
      OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST_PROPS, properties, 0),
      OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, hash, 0),
      OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST_PROPS, properties, 0),
      OSSL_PARAM_construct_octet_string(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, label,
                                        use.label.size() + 1),
      OSSL_PARAM_construct_end()};
  Salt salt{Secret(hash_size(key.nameAlg)), {}};
  require(RAND_priv_bytes_ex(crypto.get(), salt.value.writable().data(), salt.value.size(), 0) == 1,
          "RAND_priv_bytes");
  const core::PublicKey recipient = recipient_key(crypto, key, use);
  const EvpPkeyCtx context(
      EVP_PKEY_CTX_new_from_pkey(crypto.get(), recipient.pkey(), core::kNotHwid));
  std::size_t size = sizeof salt.encrypted.secret;
  require(context && EVP_PKEY_encrypt_init_ex(context.get(), params.data()) == 1 &&
              EVP_PKEY_encrypt(context.get(), salt.encrypted.secret, &size,
                               salt.value.reveal().data(), salt.value.size()) == 1,
          "EVP_PKEY_encrypt");
  salt.encrypted.size = static_cast<UINT16>(size);
  return salt;
}

}  // namespace

Salt make_seed(const core::Libcrypto& crypto, const TPMT_PUBLIC& key, const SeedUse& use) {
  if ((key.objectAttributes & TPMA_OBJECT_DECRYPT) == 0)
    throw Error(Reason::kBadConfiguration,
                std::string(use.whose) + " may not decrypt; " + use.next);
  if (key.type == TPM2_ALG_ECC) return ec_seed(crypto, key, use);
  if (key.type == TPM2_ALG_RSA) return rsa_seed(crypto, key, use);
  throw Error(Reason::kBadConfiguration,
              std::string(use.whose) + " is neither RSA nor EC; " + use.next);
}

Salt make_salt(const core::Libcrypto& crypto, const TPMT_PUBLIC& key) {
  return make_seed(crypto, key,
                   {"SECRET", "the TPM's salt key (parent)", "name another storage key (parent)"});
}

}  // namespace hwid::tpm2
