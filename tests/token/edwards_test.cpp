// Ed25519, Ed448, X25519 and X448 on a token.
#include <doctest/doctest.h>
#include <openssl/core_names.h>
#include <openssl/x509.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fixture/operations.h"
#include "tests/token/world.h"

using hwid::test::context;
using hwid::test::derived;
using hwid::test::EvpMdCtx;
using hwid::test::EvpPkey;
using hwid::test::key;
using hwid::test::openssl_errors;
using hwid::test::software_public;
using hwid::test::World;

namespace {

World& world() {
  static World& made = []() -> World& {
    World& first = hwid::test::world();
    first.token.generate({{"edwards:ED25519", "ed25519", "11"},
                          {"edwards:ED448", "ed448", "12"},
                          {"edwards:X25519", "x25519", "13"},
                          {"edwards:X448", "x448", "14"}});
    return first;
  }();
  return made;
}

EvpPkey edwards_key(const char* label) {
  world();
  return key(label);
}

const unsigned char* bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// What OpenSSL has names for since 3.2.
struct Form {
  const char* instance = nullptr;
  const char* context = nullptr;
};

bool set_form(EVP_PKEY_CTX* ctx, const Form& form) {
  std::vector<OSSL_PARAM> params;
  if (form.instance != nullptr)
    params.push_back(
        OSSL_PARAM_construct_utf8_string("instance", const_cast<char*>(form.instance), 0));
  if (form.context != nullptr)
    params.push_back(OSSL_PARAM_construct_octet_string(
        "context-string", const_cast<char*>(form.context), std::string_view(form.context).size()));
  params.push_back(OSSL_PARAM_construct_end());
  return EVP_PKEY_CTX_set_params(ctx, params.data()) == 1;
}

// Empty where it fails, with the errors on the queue. `parts`: handed over in so many.
std::string sign(EVP_PKEY* pkey, std::string_view message, std::size_t parts = 0,
                 const Form& form = {}, const char* digest = nullptr) {
  const EvpMdCtx ctx(EVP_MD_CTX_new());
  EVP_PKEY_CTX* parameters = nullptr;
  if (EVP_DigestSignInit_ex(ctx.get(), &parameters, digest, context().get(), nullptr, pkey,
                            nullptr) != 1 ||
      !set_form(parameters, form))
    return "";
  std::string signature(256, '\0');
  std::size_t size = signature.size();
  auto* const out = reinterpret_cast<unsigned char*>(signature.data());
  if (parts == 0) {
    if (EVP_DigestSign(ctx.get(), out, &size, bytes(message), message.size()) != 1) return "";
  } else {
    const std::size_t step = message.size() / parts + 1;
    for (std::size_t at = 0; at < message.size(); at += step) {
      const std::string_view part = message.substr(at, step);
      if (EVP_DigestSignUpdate(ctx.get(), part.data(), part.size()) != 1) return "";
    }
    if (EVP_DigestSignFinal(ctx.get(), out, &size) != 1) return "";
  }
  signature.resize(size);
  return signature;
}

bool verifies(EVP_PKEY* judge, std::string_view message, std::string_view signature,
              OSSL_LIB_CTX* where = nullptr) {
  const EvpMdCtx ctx(EVP_MD_CTX_new());
  return EVP_DigestVerifyInit_ex(ctx.get(), nullptr, nullptr, where, nullptr, judge, nullptr) ==
             1 &&
         EVP_DigestVerify(ctx.get(), bytes(signature), signature.size(), bytes(message),
                          message.size()) == 1;
}

}  // namespace

TEST_CASE("edwards: signatures verify in software, and are those that software makes") {
  for (const auto& [label, size] : {std::pair("ed25519", 64U), {"ed448", 114U}}) {
    const char* const name = label;
    CAPTURE(name);
    const EvpPkey own = edwards_key(label);
    const EvpPkey judge = software_public(own.get());
    CHECK(EVP_PKEY_is_a(own.get(), label == std::string("ed25519") ? "ED25519" : "ED448") == 1);
    CHECK(EVP_PKEY_get_size(own.get()) == static_cast<int>(size));
    for (const std::string& message :
         {std::string(), std::string("x"), std::string(100'000, 'y')}) {
      const std::string signature = sign(own.get(), message);
      REQUIRE_MESSAGE(signature.size() == size, openssl_errors());
      CHECK(verifies(judge.get(), message, signature));
      CHECK_FALSE(verifies(judge.get(), message + "z", signature));
      // By our own key object, which hands it to software.
      CHECK(verifies(own.get(), message, signature, context().get()));
      CHECK_FALSE(verifies(own.get(), message + "z", signature, context().get()));
      if (!message.empty()) CHECK(sign(own.get(), message, 3) == signature);
    }
  }
}

TEST_CASE("edwards: of nothing, by a null pointer, there is a signature, and then others") {
  const EvpPkey own = edwards_key("ed25519");
  const EvpPkey judge = software_public(own.get());
  CHECK_MESSAGE(verifies(judge.get(), "", sign(own.get(), std::string_view())), openssl_errors());
  CHECK(verifies(judge.get(), "some", sign(own.get(), "some")));
}

TEST_CASE("edwards: two calls a signature, and it heals") {
  const EvpPkey own = edwards_key("ed25519");
  const std::string first = sign(own.get(), "message");
  sign(own.get(), "message");  // makes the copy that is used from then on
  world().module("reset-counts");
  CHECK(sign(own.get(), "message") == first);
  CHECK(world().module.count("C_Sign") == 1);
  CHECK(world().module.total() == 2);
  for (const char* const event : {"drop-sessions", "log-out", "reinitialize"}) {
    CAPTURE(event);
    world().module(event);
    CHECK(sign(own.get(), "message") == first);
  }
}

TEST_CASE("edwards: a buffer that is too small, a digest, another key's form are refused") {
  const EvpPkey own = edwards_key("ed25519");
  const EvpMdCtx ctx(EVP_MD_CTX_new());
  REQUIRE(EVP_DigestSignInit_ex(ctx.get(), nullptr, nullptr, context().get(), nullptr, own.get(),
                                nullptr) == 1);
  std::array<unsigned char, 63> small{};
  std::size_t size = small.size();
  CHECK(EVP_DigestSign(ctx.get(), small.data(), &size, bytes("x"), 1) != 1);
  CHECK(openssl_errors().find("the buffer has 63 bytes") != std::string::npos);
  CHECK(sign(own.get(), "x", 0, {}, "SHA256").empty());
  CHECK(openssl_errors().find("EdDSA has its own") != std::string::npos);
  CHECK(sign(own.get(), "x", 0, {"Ed448", nullptr}).empty());
  CHECK(openssl_errors().find("use one of: Ed25519, Ed25519ctx, Ed25519ph") != std::string::npos);
  CHECK(sign(own.get(), "x", 0, {nullptr, "some"}).empty());
  CHECK(openssl_errors().find("use the instance Ed25519ctx") != std::string::npos);
  CHECK(sign(own.get(), "x", 0, {"Ed25519ctx", nullptr}).empty());
  CHECK(openssl_errors().find("Ed25519ctx needs one") != std::string::npos);
}

TEST_CASE("edwards: a message is signed once, and the next one is another") {
  const EvpPkey own = edwards_key("ed25519");
  const EvpMdCtx ctx(EVP_MD_CTX_new());
  REQUIRE(EVP_DigestSignInit_ex(ctx.get(), nullptr, nullptr, context().get(), nullptr, own.get(),
                                nullptr) == 1);
  EVP_MD_CTX_set_flags(ctx.get(), EVP_MD_CTX_FLAG_FINALISE);  // no copy is finished instead
  const auto finish = [&] {
    std::string signature(64, '\0');
    std::size_t size = signature.size();
    const bool good =
        EVP_DigestSignFinal(ctx.get(), reinterpret_cast<unsigned char*>(signature.data()), &size) ==
        1;
    return good ? signature : "";
  };
  REQUIRE(EVP_DigestSignUpdate(ctx.get(), "one", 3) == 1);
  CHECK(finish() == sign(own.get(), "one"));
  CHECK(finish().empty());  // not the signature of nothing
  openssl_errors();
}

// SoftHSM takes the parameters and no notice of them.
TEST_CASE("edwards: a token that makes the plain form instead of the one asked for is found out") {
  const std::pair<const char*, Form> wanted[] = {{"ed25519", {"Ed25519ph", nullptr}},
                                                 {"ed25519", {"Ed25519ctx", "some"}},
                                                 {"ed448", {nullptr, "some"}},
                                                 {"ed448", {"Ed448ph", nullptr}}};
  for (const auto& [label, form] : wanted) {
    const EvpPkey own = edwards_key(label);
    CHECK(sign(own.get(), "x", 0, form).empty());
    const std::string errors = openssl_errors();
    CHECK_MESSAGE(errors.find("the token makes the plain form") != std::string::npos, errors);
    CHECK_FALSE(sign(own.get(), "x").empty());
  }
}

TEST_CASE("edwards: a token without the mechanism is named, with what it has") {
  const EvpPkey own = edwards_key("ed25519");
  world().module("hide-mechanism 0x1057");
  CHECK(sign(own.get(), "x").empty());
  const std::string errors = openssl_errors();
  CHECK_MESSAGE(errors.find("EdDSA needs CKM_EDDSA") != std::string::npos, errors);
  world().module("clear");
}

TEST_CASE("edwards: X25519 and X448 agree with software, and do not sign") {
  const std::pair<const char*, const char*> keys[] = {{"x25519", "X25519"}, {"x448", "X448"}};
  for (const auto& [label, type] : keys) {
    const char* const name = label;
    CAPTURE(name);
    const EvpPkey own = edwards_key(label);
    REQUIRE(own);
    const EvpPkey own_public = software_public(own.get());
    const EvpPkey peer(EVP_PKEY_Q_keygen(nullptr, nullptr, type));
    const std::string judged = derived(nullptr, peer.get(), own_public.get());
    REQUIRE(judged.size() == (label == std::string("x25519") ? 32U : 56U));
    CHECK(derived(context().get(), own.get(), software_public(peer.get()).get()) == judged);
    CHECK(derived(context().get(), own.get(), peer.get(), nullptr, judged.size()) == judged);
    CHECK(derived(context().get(), own.get(), peer.get(), nullptr, judged.size() - 1) ==
          "(failed)");
    CHECK(openssl_errors().find("ask for the size first") != std::string::npos);
    CHECK(sign(own.get(), "x").empty());
    openssl_errors();
  }
  const EvpPkey own = edwards_key("x25519");
  const EvpPkey other(EVP_PKEY_Q_keygen(nullptr, nullptr, "X448"));
  CHECK(derived(context().get(), own.get(), other.get()) == "(failed)");
  openssl_errors();
}

// RFC 7748, 6.1.
TEST_CASE("edwards: a peer's point of small order is refused") {
  const EvpPkey own = edwards_key("x25519");
  const std::array<unsigned char, 32> zeros{};
  const EvpPkey peer(EVP_PKEY_new_raw_public_key_ex(nullptr, "X25519", nullptr, zeros.data(), 32));
  REQUIRE(peer);
  CHECK(derived(context().get(), own.get(), peer.get()) == "(failed)");
  openssl_errors();
}
