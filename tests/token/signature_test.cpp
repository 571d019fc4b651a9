#include <doctest/doctest.h>
#include <openssl/core_names.h>
#include <openssl/rsa.h>

#include <array>
#include <string>
#include <vector>

#include "tests/fixture/operations.h"
#include "tests/token/world.h"

using hwid::test::context;
using hwid::test::EvpMdCtx;
using hwid::test::EvpPkey;
using hwid::test::EvpPkeyCtx;
using hwid::test::key;
using hwid::test::openssl_errors;
using hwid::test::software_public;
using hwid::test::world;

namespace {

struct Pss {
  int salt;
  const char* mgf1 = nullptr;
};

hwid::test::SignAs as_pss(const char* digest, const Pss& pss) {
  return {digest, RSA_PKCS1_PSS_PADDING, pss.salt, pss.mgf1};
}

std::string sign_pss(EVP_PKEY* pkey, const char* digest, const Pss& pss, std::string_view message) {
  return hwid::test::sign(context().get(), pkey, as_pss(digest, pss), message);
}

bool verifies_pss(EVP_PKEY* judge, const char* digest, const Pss& pss, std::string_view message,
                  const std::string& signature) {
  return hwid::test::verifies(judge, as_pss(digest, pss), message, signature);
}

// EVP_PKEY_sign of something already hashed.
std::string sign_raw(EVP_PKEY* pkey, int padding, const char* digest, std::string_view input) {
  const EvpPkeyCtx ctx(EVP_PKEY_CTX_new_from_pkey(context().get(), pkey, nullptr));
  REQUIRE(EVP_PKEY_sign_init(ctx.get()) == 1);
  if (padding != 0) REQUIRE(EVP_PKEY_CTX_set_rsa_padding(ctx.get(), padding) == 1);
  if (digest != nullptr)
    REQUIRE(EVP_PKEY_CTX_set_signature_md(ctx.get(), EVP_get_digestbyname(digest)) == 1);
  std::size_t size = 0;
  const auto* data = reinterpret_cast<const unsigned char*>(input.data());
  REQUIRE(EVP_PKEY_sign(ctx.get(), nullptr, &size, data, input.size()) == 1);
  std::string signature(size, '\0');
  if (EVP_PKEY_sign(ctx.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, data,
                    input.size()) != 1)
    return "";
  signature.resize(size);
  return signature;
}

bool verifies_raw(EVP_PKEY* judge, int padding, const char* digest, std::string_view input,
                  const std::string& signature) {
  const EvpPkeyCtx ctx(EVP_PKEY_CTX_new_from_pkey(nullptr, judge, nullptr));
  REQUIRE(EVP_PKEY_verify_init(ctx.get()) == 1);
  if (padding != 0) REQUIRE(EVP_PKEY_CTX_set_rsa_padding(ctx.get(), padding) == 1);
  if (digest != nullptr)
    REQUIRE(EVP_PKEY_CTX_set_signature_md(ctx.get(), EVP_get_digestbyname(digest)) == 1);
  return EVP_PKEY_verify(ctx.get(), reinterpret_cast<const unsigned char*>(signature.data()),
                         signature.size(), reinterpret_cast<const unsigned char*>(input.data()),
                         input.size()) == 1;
}

// Since then EVP_DigestSign ends a context, also when it fails.
constexpr unsigned long kOneFinal = 0x30400000UL;

constexpr std::array kDigests = {"SHA1",     "SHA224",   "SHA256",   "SHA384",  "SHA512",
                                 "SHA3-224", "SHA3-256", "SHA3-384", "SHA3-512"};

}  // namespace

TEST_CASE("signature: every digest with RSA PKCS#1 and ECDSA verifies in software") {
  for (const char* const label : {"rsa", "rsa3072", "ec", "ec384", "ec521"}) {
    const EvpPkey token_key = key(label);
    const EvpPkey judge = software_public(token_key.get());
    for (const char* const digest : kDigests) {
      CAPTURE(label);
      CAPTURE(digest);
      const std::string signature =
          hwid::test::sign(context().get(), token_key.get(), digest, "message");
      CHECK(hwid::test::verifies(judge.get(), digest, "message", signature));
      CHECK_FALSE(hwid::test::verifies(judge.get(), digest, "massage", signature));
    }
  }
}

TEST_CASE("signature: with RSA no digest that nobody verifies") {
  const EvpPkey rsa = key("rsa");
  const auto takes = [&](const EvpPkey& signer, const char* digest, bool is_ready) {
    const EvpPkeyCtx ready(EVP_PKEY_CTX_new_from_pkey(context().get(), signer.get(), nullptr));
    const EvpMdCtx hashing(EVP_MD_CTX_new());
    const auto* const md = EVP_get_digestbyname(digest);
    return (is_ready ? EVP_PKEY_sign_init(ready.get()) == 1 &&
                           EVP_PKEY_CTX_set_signature_md(ready.get(), md) == 1
                     : EVP_DigestSignInit_ex(hashing.get(), nullptr, digest, context().get(),
                                             nullptr, signer.get(), nullptr) == 1);
  };
  for (const bool is_ready : {false, true}) {
    CAPTURE(is_ready);
    CHECK(takes(rsa, "SHA256", is_ready));
    for (const char* const digest : {"SM3", "BLAKE2s256"}) {
      CAPTURE(digest);
      CHECK_FALSE(takes(rsa, digest, is_ready));
      const std::string errors = openssl_errors();
      CHECK_MESSAGE(errors.find("is not for RSA signatures") != std::string::npos, errors);
      CHECK(takes(key("ec"), digest, is_ready));
    }
  }
}

TEST_CASE("signature: two calls each, also in PSS, and none to verify") {
  const EvpPkey rsa = key("rsa");
  const EvpPkey ec = key("ec");
  std::string signature = hwid::test::sign(context().get(), rsa.get(), "SHA256", "warm");
  world().module.clear();
  signature = hwid::test::sign(context().get(), rsa.get(), "SHA256", "x");
  CHECK(world().module.total() == 2);
  hwid::test::sign(context().get(), ec.get(), "SHA256", "x");
  CHECK(world().module.total() == 4);
  sign_pss(rsa.get(), "SHA256", {RSA_PSS_SALTLEN_DIGEST}, "x");
  CHECK(world().module.total() == 6);
  CHECK(world().module.count("C_SignInit") == 3);
  CHECK(world().module.count("C_Sign") == 3);
  CHECK(hwid::test::verifies(rsa.get(), "SHA256", "x", signature));
  const EvpMdCtx md(EVP_MD_CTX_new());
  REQUIRE(EVP_DigestVerifyInit_ex(md.get(), nullptr, "SHA256", context().get(), nullptr, rsa.get(),
                                  nullptr) == 1);
  CHECK(EVP_DigestVerify(md.get(), reinterpret_cast<const unsigned char*>(signature.data()),
                         signature.size(), reinterpret_cast<const unsigned char*>("x"), 1) == 1);
  CHECK(world().module.total() == 6);
}

TEST_CASE("signature: every PSS salt mode, and another digest in MGF1") {
  const EvpPkey token_key = key("rsa");
  const EvpPkey judge = software_public(token_key.get());
  const auto check = [&](const char* digest, const Pss& made, const Pss& expected) {
    CAPTURE(digest);
    CAPTURE(made.salt);
    const std::string signature = sign_pss(token_key.get(), digest, made, "message");
    CHECK(verifies_pss(judge.get(), digest, expected, "message", signature));
  };
  // That of the digest, where nobody names one.
  const EvpMdCtx operation(EVP_MD_CTX_new());
  EVP_PKEY_CTX* padding = nullptr;
  std::string made(256, '\0');
  std::size_t size = made.size();
  REQUIRE(EVP_DigestSignInit_ex(operation.get(), &padding, "SHA256", context().get(), nullptr,
                                token_key.get(), nullptr) == 1);
  REQUIRE(EVP_PKEY_CTX_set_rsa_padding(padding, RSA_PKCS1_PSS_PADDING) == 1);
  REQUIRE(EVP_DigestSign(operation.get(), reinterpret_cast<unsigned char*>(made.data()), &size,
                         reinterpret_cast<const unsigned char*>("message"), 7) == 1);
  CHECK(verifies_pss(judge.get(), "SHA256", {RSA_PSS_SALTLEN_DIGEST}, "message", made));
  for (const char* const digest : kDigests) {
    check(digest, {RSA_PSS_SALTLEN_DIGEST}, {RSA_PSS_SALTLEN_DIGEST});
    check(digest, {RSA_PSS_SALTLEN_MAX}, {RSA_PSS_SALTLEN_MAX});
    check(digest, {RSA_PSS_SALTLEN_AUTO}, {RSA_PSS_SALTLEN_AUTO});
    check(digest, {0}, {0});
    check(digest, {17}, {17});
  }
  check("SHA256", {RSA_PSS_SALTLEN_DIGEST, "SHA1"}, {RSA_PSS_SALTLEN_DIGEST, "SHA1"});
  check("SHA512", {20, "SHA256"}, {20, "SHA256"});
}

TEST_CASE("signature: PSS is made over raw RSA where the token lacks the mechanism") {
  const EvpPkey token_key = key("rsa3072");
  const EvpPkey judge = software_public(token_key.get());
  world().module("hide-mechanism 0xd");
  const std::string first = sign_pss(token_key.get(), "SHA256", {RSA_PSS_SALTLEN_DIGEST}, "one");
  CHECK(verifies_pss(judge.get(), "SHA256", {RSA_PSS_SALTLEN_DIGEST}, "one", first));
  world().module("reset-counts");
  const std::string second = sign_pss(token_key.get(), "SHA256", {10}, "two");
  CHECK(verifies_pss(judge.get(), "SHA256", {10}, "two", second));
  CHECK(world().module.total() == 2);
  world().module.clear();
}

TEST_CASE("signature: a ready digest is signed as it is") {
  const EvpPkey rsa = key("rsa");
  const EvpPkey rsa_judge = software_public(rsa.get());
  const EvpPkey ec = key("ec");
  const EvpPkey ec_judge = software_public(ec.get());
  const std::string digest(32, 'd');
  CHECK(verifies_raw(rsa_judge.get(), RSA_PKCS1_PADDING, "SHA256", digest,
                     sign_raw(rsa.get(), RSA_PKCS1_PADDING, "SHA256", digest)));
  CHECK(verifies_raw(rsa_judge.get(), RSA_PKCS1_PSS_PADDING, "SHA256", digest,
                     sign_raw(rsa.get(), RSA_PKCS1_PSS_PADDING, "SHA256", digest)));
  CHECK(verifies_raw(rsa_judge.get(), RSA_PKCS1_PADDING, nullptr, "any bytes",
                     sign_raw(rsa.get(), RSA_PKCS1_PADDING, nullptr, "any bytes")));
  const std::string block = std::string(1, '\0') + std::string(255, 'b');
  CHECK(verifies_raw(rsa_judge.get(), RSA_NO_PADDING, nullptr, block,
                     sign_raw(rsa.get(), RSA_NO_PADDING, nullptr, block)));
  CHECK(verifies_raw(ec_judge.get(), 0, "SHA256", digest, sign_raw(ec.get(), 0, "SHA256", digest)));
  const std::string longer(64, 'e');
  CHECK(verifies_raw(ec_judge.get(), 0, nullptr, longer, sign_raw(ec.get(), 0, nullptr, longer)));
  CHECK(sign_raw(rsa.get(), RSA_PKCS1_PADDING, "SHA256", "too short").empty());
  CHECK(openssl_errors().find("32 bytes") != std::string::npos);
}

TEST_CASE("signature: MD5-SHA1 for TLS 1.0") {
  const EvpPkey rsa = key("rsa");
  const EvpPkey judge = software_public(rsa.get());
  const std::string digest(36, 'm');
  CHECK(verifies_raw(judge.get(), RSA_PKCS1_PADDING, "MD5-SHA1", digest,
                     sign_raw(rsa.get(), RSA_PKCS1_PADDING, "MD5-SHA1", digest)));
  const std::string signature = hwid::test::sign(context().get(), rsa.get(), "MD5-SHA1", "message");
  CHECK(hwid::test::verifies(judge.get(), "MD5-SHA1", "message", signature));
}

TEST_CASE("signature: a copied context between updates gives two right signatures") {
  for (const char* const label : {"rsa", "ec"}) {
    const EvpPkey token_key = key(label);
    const EvpPkey judge = software_public(token_key.get());
    const EvpMdCtx one(EVP_MD_CTX_new());
    const EvpMdCtx two(EVP_MD_CTX_new());
    REQUIRE(EVP_DigestSignInit_ex(one.get(), nullptr, "SHA256", context().get(), nullptr,
                                  token_key.get(), nullptr) == 1);
    REQUIRE(EVP_DigestSignUpdate(one.get(), "mess", 4) == 1);
    REQUIRE(EVP_MD_CTX_copy_ex(two.get(), one.get()) == 1);
    REQUIRE(EVP_DigestSignUpdate(one.get(), "age", 3) == 1);
    REQUIRE(EVP_DigestSignUpdate(two.get(), "up", 2) == 1);
    const auto final = [](EVP_MD_CTX* ctx) {
      std::string signature(600, '\0');
      std::size_t size = signature.size();
      REQUIRE(EVP_DigestSignFinal(ctx, reinterpret_cast<unsigned char*>(signature.data()), &size) ==
              1);
      signature.resize(size);
      return signature;
    };
    CHECK(hwid::test::verifies(judge.get(), "SHA256", "message", final(one.get())));
    CHECK(hwid::test::verifies(judge.get(), "SHA256", "messup", final(two.get())));
  }
}

TEST_CASE("signature: a buffer that is too small is an error that harms nothing after it") {
  const EvpPkey token_key = key("rsa");
  const EvpPkey judge = software_public(token_key.get());
  const EvpMdCtx md(EVP_MD_CTX_new());
  REQUIRE(EVP_DigestSignInit_ex(md.get(), nullptr, "SHA256", context().get(), nullptr,
                                token_key.get(), nullptr) == 1);
  REQUIRE(EVP_DigestSignUpdate(md.get(), "message", 7) == 1);
  std::string signature(256, '\0');
  std::size_t size = 255;
  auto* const out = reinterpret_cast<unsigned char*>(signature.data());
  CHECK(EVP_DigestSignFinal(md.get(), out, &size) != 1);
  CHECK(openssl_errors().find("255 bytes") != std::string::npos);
  size = 256;
  REQUIRE_MESSAGE(EVP_DigestSignFinal(md.get(), out, &size) == 1, openssl_errors());
  CHECK(hwid::test::verifies(judge.get(), "SHA256", "message", signature));
}

TEST_CASE("signature: at once, after a buffer that was too small, after updates, twice") {
  for (const char* const label : {"rsa", "ec"}) {
    const EvpPkey token_key = key(label);
    const EvpPkey judge = software_public(token_key.get());
    const EvpMdCtx md(EVP_MD_CTX_new());
    REQUIRE(EVP_DigestSignInit_ex(md.get(), nullptr, "SHA256", context().get(), nullptr,
                                  token_key.get(), nullptr) == 1);
    std::string signature(600, '\0');
    auto* const out = reinterpret_cast<unsigned char*>(signature.data());
    const auto* const tail = reinterpret_cast<const unsigned char*>("age");
    REQUIRE(EVP_DigestSignUpdate(md.get(), "mess", 4) == 1);
    std::size_t size = 0;
    REQUIRE(EVP_DigestSign(md.get(), nullptr, &size, tail, 3) == 1);
    CHECK(size == static_cast<std::size_t>(EVP_PKEY_get_size(token_key.get())));
    if (OpenSSL_version_num() < kOneFinal) {
      size = 8;
      CHECK(EVP_DigestSign(md.get(), out, &size, tail, 3) != 1);
      CHECK(openssl_errors().find("8 bytes") != std::string::npos);
    }
    size = signature.size();
    REQUIRE_MESSAGE(EVP_DigestSign(md.get(), out, &size, tail, 3) == 1, openssl_errors());
    CHECK(hwid::test::verifies(judge.get(), "SHA256", "message", signature.substr(0, size)));
    if (OpenSSL_version_num() >= kOneFinal) continue;
    size = signature.size();
    REQUIRE_MESSAGE(EVP_DigestSign(md.get(), out, &size, tail, 3) == 1, openssl_errors());
    CHECK(hwid::test::verifies(judge.get(), "SHA256", "age", signature.substr(0, size)));
  }
}

TEST_CASE("signature: an initialized context signs again without a key") {
  const EvpPkey token_key = key("ec");
  const EvpPkey judge = software_public(token_key.get());
  const EvpMdCtx md(EVP_MD_CTX_new());
  for (const char* const message : {"one", "two"}) {
    REQUIRE(EVP_DigestSignInit_ex(md.get(), nullptr, "SHA256", context().get(), nullptr,
                                  token_key.get(), nullptr) == 1);
    std::string signature(200, '\0');
    std::size_t size = signature.size();
    REQUIRE(EVP_DigestSign(md.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                           reinterpret_cast<const unsigned char*>(message), 3) == 1);
    signature.resize(size);
    CHECK(hwid::test::verifies(judge.get(), "SHA256", message, signature));
  }
}

TEST_CASE("signature: parameters that mean nothing are refused with their name") {
  const EvpPkey token_key = key("rsa");
  const EvpPkeyCtx ctx(EVP_PKEY_CTX_new_from_pkey(context().get(), token_key.get(), nullptr));
  REQUIRE(EVP_PKEY_sign_init(ctx.get()) == 1);
  CHECK(EVP_PKEY_CTX_ctrl_str(ctx.get(), "rsa_padding_mode", "oaep") != 1);
  CHECK(openssl_errors().find("pad-mode") != std::string::npos);
  CHECK(EVP_PKEY_CTX_ctrl_str(ctx.get(), "digest", "no-such-digest") != 1);
  CHECK(openssl_errors().find("no-such-digest") != std::string::npos);
}
