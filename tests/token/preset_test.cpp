// Signature algorithms by a name that says the digest too, and messages in parts, which OpenSSL has
// since 3.4 (EVP_PKEY_sign_message_init(3)).
#include <doctest/doctest.h>
#include <openssl/core_names.h>
#include <openssl/rsa.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/fixture/operations.h"
#include "tests/token/world.h"

using hwid::test::context;
using hwid::test::EvpPkey;
using hwid::test::EvpPkeyCtx;
using hwid::test::openssl_errors;

namespace {

constexpr char kOurs[] = "hwid.keys=yes";

struct FreeSignature {
  void operator()(EVP_SIGNATURE* algorithm) const { EVP_SIGNATURE_free(algorithm); }
};
using EvpSignature = std::unique_ptr<EVP_SIGNATURE, FreeSignature>;

EvpSignature algorithm(const char* name) {
  return EvpSignature(EVP_SIGNATURE_fetch(context().get(), name, kOurs));
}

}  // namespace

#if OPENSSL_VERSION_PREREQ(3, 4)

using hwid::test::key;
using hwid::test::software_public;
using hwid::test::verifies;
using hwid::test::World;

namespace {

World& world() {
  static World& made = []() -> World& {
    World& first = hwid::test::world();
    first.token.generate({{"edwards:ED25519", "ed25519", "11"}, {"edwards:ED448", "ed448", "12"}});
    return first;
  }();
  return made;
}

const unsigned char* bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

EvpPkeyCtx started(EVP_PKEY* pkey, EVP_SIGNATURE* how, decltype(&EVP_PKEY_sign_message_init) init,
                   const OSSL_PARAM* params = nullptr) {
  EvpPkeyCtx ctx(EVP_PKEY_CTX_new_from_pkey(context().get(), pkey, nullptr));
  if (init(ctx.get(), how, params) != 1) return nullptr;
  return ctx;
}

// The three ways of an algorithm; empty where it fails, with the errors on the queue.
std::string sign(EVP_PKEY_CTX* ctx, std::string_view input) {
  std::size_t size = 0;
  if (ctx == nullptr || EVP_PKEY_sign(ctx, nullptr, &size, bytes(input), input.size()) != 1)
    return "";
  std::string signature(size, '\0');
  if (EVP_PKEY_sign(ctx, reinterpret_cast<unsigned char*>(signature.data()), &size, bytes(input),
                    input.size()) != 1)
    return "";
  signature.resize(size);
  return signature;
}

std::string sign_rest(EVP_PKEY_CTX* ctx, std::string_view rest) {
  if (EVP_PKEY_sign_message_update(ctx, bytes(rest), rest.size()) != 1) return "";
  std::size_t size = 0;
  if (EVP_PKEY_sign_message_final(ctx, nullptr, &size) != 1) return "";
  std::string signature(size, '\0');
  if (EVP_PKEY_sign_message_final(ctx, reinterpret_cast<unsigned char*>(signature.data()), &size) !=
      1)
    return "";
  signature.resize(size);
  return signature;
}

bool verify(EVP_PKEY_CTX* ctx, std::string_view input, std::string_view signature) {
  return ctx != nullptr &&
         EVP_PKEY_verify(ctx, bytes(signature), signature.size(), bytes(input), input.size()) == 1;
}

bool verify_in_parts(EVP_PKEY_CTX* ctx, std::string_view message, std::string_view signature) {
  const std::size_t half = message.size() / 2;
  return EVP_PKEY_CTX_set_signature(ctx, bytes(signature), signature.size()) == 1 &&
         EVP_PKEY_verify_message_update(ctx, bytes(message), half) == 1 &&
         EVP_PKEY_verify_message_update(ctx, bytes(message) + half, message.size() - half) == 1 &&
         EVP_PKEY_verify_message_final(ctx) == 1;
}

std::string hashed(const char* digest, std::string_view message) {
  std::string made(EVP_MAX_MD_SIZE, '\0');
  std::size_t size = 0;
  REQUIRE(EVP_Q_digest(nullptr, digest, nullptr, message.data(), message.size(),
                       reinterpret_cast<unsigned char*>(made.data()), &size) == 1);
  made.resize(size);
  return made;
}

struct Named {
  const char* key;
  const char* name;
  const char* digest;
};

// With each of the names that OpenSSL has for it, one of them a number.
const std::vector<Named> kNamed = {{"rsa", "RSA-SHA1", "SHA1"},
                                   {"rsa", "sha224WithRSAEncryption", "SHA224"},
                                   {"rsa", "RSA-SHA256", "SHA256"},
                                   {"rsa", "RSA-SHA2-384", "SHA384"},
                                   {"rsa", "1.2.840.113549.1.1.13", "SHA512"},
                                   {"rsa", "RSA-SHA2-512/224", "SHA512-224"},
                                   {"rsa", "RSA-SHA512-256", "SHA512-256"},
                                   {"rsa", "RSA-SHA3-224", "SHA3-224"},
                                   {"rsa", "RSA-SHA3-256", "SHA3-256"},
                                   {"rsa", "RSA-SHA3-384", "SHA3-384"},
                                   {"rsa", "id-rsassa-pkcs1-v1_5-with-sha3-512", "SHA3-512"},
                                   {"ec", "ECDSA-SHA-1", "SHA1"},
                                   {"ec", "ECDSA-SHA224", "SHA224"},
                                   {"ec", "ECDSA-SHA2-256", "SHA256"},
                                   {"ec384", "ecdsa-with-SHA384", "SHA384"},
                                   {"ec521", "1.2.840.10045.4.3.4", "SHA512"},
                                   {"ec", "ECDSA-SHA3-224", "SHA3-224"},
                                   {"ec", "ECDSA-SHA3-256", "SHA3-256"},
                                   {"ec384", "ECDSA-SHA3-384", "SHA3-384"},
                                   {"ec521", "ecdsa_with_SHA3-512", "SHA3-512"}};

}  // namespace

TEST_CASE("preset: each name signs digests and messages, whole and in parts") {
  const std::string message = "a message of some length";
  for (const auto& [label, name, digest] : kNamed) {
    CAPTURE(name);
    const EvpPkey own = key(label);
    const EvpPkey judge = software_public(own.get());
    const EvpSignature how = algorithm(name);
    REQUIRE_MESSAGE(how != nullptr, openssl_errors());
    const auto whole = started(own.get(), how.get(), EVP_PKEY_sign_message_init);
    const auto parts = started(own.get(), how.get(), EVP_PKEY_sign_message_init);
    const auto ready = started(own.get(), how.get(), EVP_PKEY_sign_init_ex2);
    REQUIRE_MESSAGE((whole && parts && ready), openssl_errors());
    REQUIRE(EVP_PKEY_sign_message_update(parts.get(), bytes(message), 9) == 1);
    // A copy goes on by itself.
    const EvpPkeyCtx copy(EVP_PKEY_CTX_dup(parts.get()));
    REQUIRE(copy != nullptr);
    for (const std::string& signature :
         {sign(whole.get(), message), sign_rest(parts.get(), message.substr(9)),
          sign_rest(copy.get(), message.substr(9)), sign(ready.get(), hashed(digest, message))}) {
      REQUIRE_MESSAGE(!signature.empty(), openssl_errors());
      CHECK(verifies(judge.get(), {digest}, message, signature));
      CHECK(verify(started(own.get(), how.get(), EVP_PKEY_verify_message_init).get(), message,
                   signature));
      CHECK(verify_in_parts(started(own.get(), how.get(), EVP_PKEY_verify_message_init).get(),
                            message, signature));
      CHECK(verify(started(own.get(), how.get(), EVP_PKEY_verify_init_ex2).get(),
                   hashed(digest, message), signature));
      CHECK_FALSE(verify(started(own.get(), how.get(), EVP_PKEY_verify_message_init).get(),
                         message + "!", signature));
      CHECK_FALSE(verify_in_parts(started(own.get(), how.get(), EVP_PKEY_verify_message_init).get(),
                                  message + "!", signature));
    }
    openssl_errors();
  }
}

TEST_CASE("preset: two calls a signature") {
  const EvpPkey own = key("ec");
  const EvpSignature how = algorithm("ECDSA-SHA256");
  sign(started(own.get(), how.get(), EVP_PKEY_sign_message_init).get(), "message");
  world().module("reset-counts");
  CHECK(!sign(started(own.get(), how.get(), EVP_PKEY_sign_message_init).get(), "message").empty());
  CHECK(world().module.total() == 2);
}

TEST_CASE("preset: the plain algorithms are for keys of their kind") {
  for (const auto& [label, name, digest] :
       {Named{"rsa", "RSA", "SHA256"}, {"ec", "ECDSA", "SHA256"}}) {
    CAPTURE(name);
    const EvpPkey own = key(label);
    const EvpPkey judge = software_public(own.get());
    const EvpSignature how = algorithm(name);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, const_cast<char*>(digest), 0),
        OSSL_PARAM_construct_end()};
    const auto ctx = started(own.get(), how.get(), EVP_PKEY_sign_init_ex2, params);
    const std::string signature = sign(ctx.get(), hashed(digest, "message"));
    REQUIRE_MESSAGE(!signature.empty(), openssl_errors());
    CHECK(verifies(judge.get(), {digest}, "message", signature));
  }
  CHECK(started(key("ec").get(), algorithm("RSA-SHA256").get(), EVP_PKEY_sign_message_init) ==
        nullptr);
  CHECK(started(key("rsa").get(), algorithm("ECDSA").get(), EVP_PKEY_sign_init_ex2) == nullptr);
  openssl_errors();
}

TEST_CASE("preset: EdDSA by its instances") {
  world();
  for (const char* const label : {"ed25519", "ed448"}) {
    CAPTURE(label);
    const EvpPkey own = key(label);
    const EvpPkey judge = software_public(own.get());
    const EvpSignature how = algorithm(label);
    const auto whole = started(own.get(), how.get(), EVP_PKEY_sign_message_init);
    const std::string signature = sign(whole.get(), "message");
    REQUIRE_MESSAGE(!signature.empty(), openssl_errors());
    CHECK(verifies(judge.get(), {nullptr}, "message", signature));
    const auto parts = started(own.get(), how.get(), EVP_PKEY_sign_message_init);
    REQUIRE(EVP_PKEY_sign_message_update(parts.get(), bytes("mess"), 4) == 1);
    CHECK(sign_rest(parts.get(), "age") == signature);
    CHECK(verify(started(own.get(), how.get(), EVP_PKEY_verify_message_init).get(), "message",
                 signature));
    CHECK_FALSE(verify(started(own.get(), how.get(), EVP_PKEY_verify_message_init).get(),
                       "messages", signature));
  }
  // SoftHSM makes the plain form of each, and is found out: so the instance reached it.
  OSSL_PARAM some[] = {
      OSSL_PARAM_construct_octet_string("context-string", const_cast<char*>("some"), 4),
      OSSL_PARAM_construct_end()};
  OSSL_PARAM none[] = {OSSL_PARAM_construct_end()};
  for (const auto& [label, name, params] : {std::tuple("ed25519", "ED25519ph", none),
                                            {"ed25519", "ED25519ctx", some},
                                            {"ed448", "ED448ph", none}}) {
    CAPTURE(name);
    const EvpPkey own = key(label);
    CHECK(sign(started(own.get(), algorithm(name).get(), EVP_PKEY_sign_message_init, params).get(),
               "message")
              .empty());
    const std::string errors = openssl_errors();
    CHECK_MESSAGE(errors.find("the token makes the plain form") != std::string::npos, errors);
  }
}

namespace {

// An ordinary key of ours, as programs' own are where our keymgmt comes first.
EvpPkey ordinary_key(const char* type) {
  const EvpPkeyCtx ctx(EVP_PKEY_CTX_new_from_name(context().get(), type, kOurs));
  EVP_PKEY* made = nullptr;
  REQUIRE(EVP_PKEY_keygen_init(ctx.get()) == 1);
  if (std::string_view(type) == "EC") REQUIRE(EVP_PKEY_CTX_set_group_name(ctx.get(), "P-256") == 1);
  REQUIRE_MESSAGE(EVP_PKEY_generate(ctx.get(), &made) == 1, openssl_errors());
  return EvpPkey(made);
}

struct Kind {
  const char* label;      // on the token; null: an ordinary key
  const char* type;       // of an ordinary key
  const char* algorithm;  // null: EVP chooses
  const char* digest;
};
const std::vector<Kind> kKinds = {
    {"rsa", nullptr, "RSA-SHA256", "SHA256"}, {"ec", nullptr, "ECDSA-SHA256", "SHA256"},
    {"ed25519", nullptr, "ED25519", nullptr}, {"ed448", nullptr, nullptr, nullptr},
    {nullptr, "RSA", "RSA-SHA256", "SHA256"}, {nullptr, "EC", "ECDSA-SHA256", "SHA256"},
    {nullptr, "ED25519", nullptr, nullptr},   {nullptr, "ED448", "ED448", nullptr}};

}  // namespace

TEST_CASE("preset: what came for one message is in no other") {
  world();
  for (const Kind& kind : kKinds) {
    CAPTURE(kind.label);
    CAPTURE(kind.type);
    const EvpPkey own = kind.label != nullptr ? key(kind.label) : ordinary_key(kind.type);
    const EvpPkey judge = software_public(own.get());
    const EvpSignature how = kind.algorithm != nullptr ? algorithm(kind.algorithm) : nullptr;
    const hwid::test::SignAs as{kind.digest};
    const auto signing = started(own.get(), how.get(), EVP_PKEY_sign_message_init);
    REQUIRE_MESSAGE(signing != nullptr, openssl_errors());
    const std::string one = sign(signing.get(), "pay 1");
    const std::string two = sign(signing.get(), "0000");
    CHECK(verifies(judge.get(), as, "pay 1", one));
    CHECK(verifies(judge.get(), as, "0000", two));
    const std::string both =
        sign(started(own.get(), how.get(), EVP_PKEY_sign_message_init).get(), "pay 10000");

    const auto verifying = started(own.get(), how.get(), EVP_PKEY_verify_message_init);
    CHECK(verify(verifying.get(), "pay 1", one));
    CHECK_FALSE(verify(verifying.get(), "0000", both));
    CHECK(verify(verifying.get(), "0000", two));
    CHECK(verify_in_parts(verifying.get(), "pay 10000", both));
    CHECK_FALSE(verify_in_parts(verifying.get(), "0000", both));

    // Too little room, and once more; parts, too little room, and once more.
    std::string small(8, '\0');
    std::size_t size = small.size();
    auto* const out = reinterpret_cast<unsigned char*>(small.data());
    CHECK(EVP_PKEY_sign(signing.get(), out, &size, bytes("abc"), 3) != 1);
    CHECK(verifies(judge.get(), as, "abc", sign(signing.get(), "abc")));
    REQUIRE(EVP_PKEY_sign_message_update(signing.get(), bytes("ab"), 2) == 1);
    CHECK(EVP_PKEY_sign(signing.get(), out, &size, bytes("cd"), 2) != 1);  // parts have come
    size = small.size();
    CHECK(EVP_PKEY_sign_message_final(signing.get(), out, &size) != 1);
    CHECK(verifies(judge.get(), as, "abcd", sign_rest(signing.get(), "cd")));
    // Of nothing.
    const std::string empty =
        sign_rest(started(own.get(), how.get(), EVP_PKEY_sign_message_init).get(), "");
    CHECK_MESSAGE(verifies(judge.get(), as, "", empty), openssl_errors());
    CHECK(verifies(judge.get(), as, "", sign(signing.get(), {nullptr, 0})));
    CHECK(verifies(judge.get(), as, "more", sign(signing.get(), "more")));
    openssl_errors();
  }
}

TEST_CASE("preset: EdDSA signs no digest, and a message's instance is its algorithm's name") {
  world();
  const EvpPkey own = key("ed25519");
  const EvpPkeyCtx ctx(EVP_PKEY_CTX_new_from_pkey(context().get(), own.get(), nullptr));
  CHECK(EVP_PKEY_sign_init(ctx.get()) != 1);
  CHECK(started(own.get(), algorithm("ED25519").get(), EVP_PKEY_sign_init_ex2) == nullptr);
  OSSL_PARAM prehash[] = {
      OSSL_PARAM_construct_utf8_string("instance", const_cast<char*>("Ed25519ph"), 0),
      OSSL_PARAM_construct_end()};
  CHECK(started(own.get(), algorithm("ED25519").get(), EVP_PKEY_sign_message_init, prehash) ==
        nullptr);
  CHECK(openssl_errors().find("it is fixed by the algorithm's name") != std::string::npos);
}

TEST_CASE("preset: what the name fixes cannot be set, and a signature to verify is wanted") {
  const EvpPkey own = key("rsa");
  const EvpSignature how = algorithm("RSA-SHA256");
  const auto ctx = started(own.get(), how.get(), EVP_PKEY_sign_message_init);
  CHECK(EVP_PKEY_CTX_set_rsa_padding(ctx.get(), RSA_PKCS1_PSS_PADDING) != 1);
  int pss = RSA_PKCS1_PSS_PADDING;
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_PAD_MODE, &pss),
                               OSSL_PARAM_construct_end()};
  CHECK(EVP_PKEY_CTX_set_params(ctx.get(), params) != 1);
  CHECK(openssl_errors().find("it is fixed by the algorithm's name") != std::string::npos);
  const auto verifying = started(own.get(), how.get(), EVP_PKEY_verify_message_init);
  CHECK(EVP_PKEY_verify_message_final(verifying.get()) != 1);
  CHECK(openssl_errors().find("EVP_PKEY_CTX_set_signature") != std::string::npos);
  CHECK(EVP_PKEY_CTX_set_signature(verifying.get(), nullptr, 64) != 1);
  // What it is already may be said.
  int pkcs1 = RSA_PKCS1_PADDING;
  const OSSL_PARAM same[] = {
      OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_PAD_MODE, &pkcs1),
      OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, const_cast<char*>("SHA256"), 0),
      OSSL_PARAM_construct_end()};
  CHECK_MESSAGE(EVP_PKEY_CTX_set_params(ctx.get(), same) == 1, openssl_errors());
}

#else

TEST_CASE("preset: an OpenSSL before 3.4 is not told of names that it does not have") {
  CHECK(algorithm("RSA-SHA2-256") == nullptr);
  CHECK(algorithm("ECDSA") != nullptr);
  openssl_errors();
}

#endif
