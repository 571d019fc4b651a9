#include <doctest/doctest.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include <functional>

#include "provider/core/key.h"

namespace hwid::test {
namespace {

using core::Bytes;
using core::ByteView;
using core::Digest;
using core::SignScheme;
using Kind = SignScheme::Kind;

core::EvpPkey make_key(const char* algorithm, const char* parameter, const char* value) {
  const core::EvpPkeyCtx context(EVP_PKEY_CTX_new_from_name(nullptr, algorithm, nullptr));
  EVP_PKEY* key = nullptr;
  REQUIRE(EVP_PKEY_keygen_init(context.get()) == 1);
  REQUIRE(EVP_PKEY_CTX_ctrl_str(context.get(), parameter, value) == 1);
  REQUIRE(EVP_PKEY_generate(context.get(), &key) == 1);
  return core::EvpPkey(key);
}

core::PublicKey public_half(const core::Libcrypto& crypto, EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  REQUIRE(size > 0);
  const Bytes bytes(der, der + size);
  OPENSSL_free(der);
  return core::PublicKey::from_spki(crypto, bytes);
}

Bytes sign(EVP_PKEY* key, const std::function<void(EVP_PKEY_CTX*)>& prepare, ByteView input) {
  const core::EvpPkeyCtx context(EVP_PKEY_CTX_new(key, nullptr));
  REQUIRE(EVP_PKEY_sign_init(context.get()) == 1);
  prepare(context.get());
  std::size_t size = 0;
  REQUIRE(EVP_PKEY_sign(context.get(), nullptr, &size, input.data(), input.size()) == 1);
  Bytes signature(size);
  REQUIRE(EVP_PKEY_sign(context.get(), signature.data(), &size, input.data(), input.size()) == 1);
  signature.resize(size);
  return signature;
}

// ECDSA-Sig-Value as r||s.
Bytes fixed_width(ByteView der, std::size_t width) {
  const unsigned char* at = der.data();
  const std::unique_ptr<ECDSA_SIG, core::FreeWith<ECDSA_SIG_free>> numbers(
      d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  REQUIRE(numbers);
  Bytes out(2 * width);
  BN_bn2binpad(ECDSA_SIG_get0_r(numbers.get()), out.data(), static_cast<int>(width));
  BN_bn2binpad(ECDSA_SIG_get0_s(numbers.get()), out.data() + width, static_cast<int>(width));
  return out;
}

// Good as it is, and bad with anything changed.
void check(const core::Libcrypto& crypto, const core::PublicKey& key, const SignScheme& scheme,
           Bytes digest, Bytes signature) {
  CHECK(core::verifies(crypto, key, scheme, digest, signature));
  digest.back() ^= 1;
  CHECK_FALSE(core::verifies(crypto, key, scheme, digest, signature));
  digest.back() ^= 1;
  signature.back() ^= 1;
  CHECK_FALSE(core::verifies(crypto, key, scheme, digest, signature));
  signature.clear();
  CHECK_FALSE(core::verifies(crypto, key, scheme, digest, signature));
  CHECK(ERR_peek_error() == 0);
}

}  // namespace

TEST_CASE("verifies: RSA signatures of every padding") {
  const core::Libcrypto crypto;
  const core::EvpPkey pair = make_key("RSA", "rsa_keygen_bits", "2048");
  const core::PublicKey key = public_half(crypto, pair.get());
  const Bytes digest(32, 0x5a);
  const auto pkcs1 = [](EVP_PKEY_CTX* context) {
    EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING);
    EVP_PKEY_CTX_set_signature_md(context, EVP_sha256());
  };
  check(crypto, key, {Kind::kRsaPkcs1, Digest::kSha256}, digest, sign(pair.get(), pkcs1, digest));
  const auto bare = [](EVP_PKEY_CTX* context) {
    EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING);
  };
  check(crypto, key, {Kind::kRsaPkcs1}, digest, sign(pair.get(), bare, digest));
  for (const std::size_t salt : {0U, 20U, 32U, 222U}) {
    CAPTURE(salt);
    const auto pss = [&](EVP_PKEY_CTX* context) {
      EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING);
      EVP_PKEY_CTX_set_signature_md(context, EVP_sha256());
      EVP_PKEY_CTX_set_rsa_pss_saltlen(context, static_cast<int>(salt));
    };
    SignScheme scheme{Kind::kRsaPss, Digest::kSha256, Digest::kSha256, salt};
    const Bytes signature = sign(pair.get(), pss, digest);
    check(crypto, key, scheme, digest, signature);
    scheme.salt_size = salt + 1;
    CHECK_FALSE(core::verifies(crypto, key, scheme, digest, signature));
  }
  const auto raw = [](EVP_PKEY_CTX* context) {
    EVP_PKEY_CTX_set_rsa_padding(context, RSA_NO_PADDING);
  };
  Bytes block(256, 0x11);
  block[0] = 0;
  check(crypto, key, {Kind::kRsaRaw}, block, sign(pair.get(), raw, block));
}

TEST_CASE("verifies: ECDSA signatures of fixed width, over digests of any length") {
  const core::Libcrypto crypto;
  for (const auto& [group, width] : {std::pair{"P-256", 32}, {"P-384", 48}, {"P-521", 66}}) {
    const auto& which = group;
    CAPTURE(which);
    const core::EvpPkey pair = make_key("EC", "ec_paramgen_curve", group);
    const core::PublicKey key = public_half(crypto, pair.get());
    for (const std::size_t size : {20U, 32U, 64U}) {
      const Bytes digest(size, 0x5a);
      const Bytes der = sign(
          pair.get(), [](EVP_PKEY_CTX*) {}, digest);
      Bytes signature = fixed_width(der, static_cast<std::size_t>(width));
      CHECK(core::verifies(crypto, key, {Kind::kEcdsa}, digest, signature));
      signature.back() ^= 1;
      CHECK_FALSE(core::verifies(crypto, key, {Kind::kEcdsa}, digest, signature));
      CHECK_FALSE(core::verifies(crypto, key, {Kind::kEcdsa}, digest, {}));
    }
  }
}

}  // namespace hwid::test
