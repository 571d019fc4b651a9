#include <doctest/doctest.h>
#include <openssl/err.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/fixture/life.h"
#include "tests/token/world.h"

using hwid::test::EvpMdCtx;
using hwid::test::EvpPkey;
using hwid::test::EvpPkeyCtx;
using hwid::test::LibraryContext;
using hwid::test::openssl_errors;
using hwid::test::software_public;
using hwid::test::world;

namespace {

LibraryContext& context() {
  static LibraryContext made(world().conf({{"max-sessions", "4"}}));
  return made;
}

EvpPkey key(const std::string& label) { return context().private_key(world().token.uri(label)); }

std::string sign(EVP_PKEY* pkey, const char* digest = "SHA256") {
  return hwid::test::sign(context().get(), pkey, digest, "message");
}

bool signs(EVP_PKEY* pkey, EVP_PKEY* judge, const char* digest = "SHA256") {
  return hwid::test::verifies(judge, digest, "message", sign(pkey, digest));
}

EvpPkey generate(const std::string& label) {
  const EvpPkeyCtx ctx(EVP_PKEY_CTX_new_from_name(context().get(), "EC", "provider=hwid"));
  REQUIRE_MESSAGE(ctx, openssl_errors());
  std::string uri = "pkcs11:token=" + world().token.label() + ";object=" + label;
  char group[] = "P-256";
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("pkcs11_uri", uri.data(), 0),
                               OSSL_PARAM_construct_utf8_string("group", group, 0),
                               OSSL_PARAM_construct_end()};
  REQUIRE(EVP_PKEY_keygen_init(ctx.get()) == 1);
  REQUIRE_MESSAGE(EVP_PKEY_CTX_set_params(ctx.get(), params) == 1, openssl_errors());
  EVP_PKEY* made = nullptr;
  EVP_PKEY_generate(ctx.get(), &made);
  return EvpPkey(made);
}

std::uint64_t open_sessions() {
  return world().module.count("C_OpenSession") - world().module.count("C_CloseSession");
}

}  // namespace

// The first two: nobody is logged in yet.
TEST_CASE("faults: nobody is asked for the PIN of a locked token") {
  world().module("token-flags +0x40000");
  const std::string uri = world().token.uri("ec") + "?pin-source=file:/nonexistent/pin";
  CHECK_THROWS_WITH_AS(context().private_key(uri), doctest::Contains("CKF_USER_PIN_LOCKED"),
                       std::runtime_error);
  CHECK(world().module.count("C_Login") == 0);
  world().module.clear();
}

TEST_CASE("faults: a login that may have cost a try is not repeated") {
  world().module("fail C_Login CKR_DEVICE_ERROR times=1");
  CHECK_THROWS_WITH_AS(key("ec"), doctest::Contains("C_Login: CKR_DEVICE_ERROR"),
                       std::runtime_error);
  CHECK(world().module.count("C_Login") == 1);
  CHECK_FALSE(sign(key("ec").get()).empty());
  CHECK(openssl_errors().empty());
  world().module.clear();
}

TEST_CASE("faults: a generated pair is read again, or leaves nothing behind") {
  world().module("fail C_GetAttributeValue CKR_DEVICE_ERROR times=1");
  const EvpPkey made = generate("made");
  CHECK_MESSAGE(made, openssl_errors());
  CHECK(world().module.count("C_GenerateKeyPair") == 1);
  world().module.clear();

  world().module("fail C_GetAttributeValue CKR_GENERAL_ERROR");
  CHECK_FALSE(generate("lost"));
  const std::string errors = openssl_errors();
  CHECK_MESSAGE(errors.find("C_GetAttributeValue: CKR_GENERAL_ERROR") != std::string::npos, errors);
  CHECK(world().module.count("C_DestroyObject") == 2);
  world().module.clear();
  CHECK_MESSAGE(generate("lost"), openssl_errors());  // the label is free
}

TEST_CASE("faults: a key that wants the PIN each time gets the configured one") {
  world().token.generate({"rsa:2048", "each-time", "0a", true, false, true});
  LibraryContext own(world().conf({{"cache-pin", "no"}}));
  const EvpPkey token_key = own.private_key(world().token.uri("each-time"));
  for (int time = 0; time < 2; ++time)
    CHECK_FALSE(hwid::test::sign(own.get(), token_key.get(), "SHA256", "message").empty());
  world().module.clear();
}

TEST_CASE("faults: sessions stay under max-sessions however often the device fails") {
  const EvpPkey token_key = key("ec");
  const EvpPkey judge = software_public(token_key.get());
  REQUIRE(signs(token_key.get(), judge.get()));
  world().module("delay-us C_Sign 500");
  const std::uint64_t before = open_sessions();
  for (const char* const fault : {"CKR_DEVICE_ERROR", "CKR_SESSION_HANDLE_INVALID"}) {
    for (int round = 0; round < 5; ++round) {
      world().module(std::string("fail C_Sign ") + fault + " nth=5 times=1");
      std::vector<std::thread> threads;
      std::atomic<int> good{0};
      for (int thread = 0; thread < 8; ++thread) {
        threads.emplace_back([&] {
          try {
            for (int time = 0; time < 5; ++time)
              good += signs(token_key.get(), judge.get()) ? 1 : 0;
          } catch (const std::exception&) {
          }
        });
      }
      for (std::thread& thread : threads) thread.join();
      CHECK(good == 8 * 5);
      CHECK(open_sessions() <= before + 3);
    }
  }
  CHECK(world().module.count("peak-sessions") <= 4);
  world().module.clear();
}

TEST_CASE("faults: a limit that another process caused for a while goes with it") {
  const EvpPkey token_key = key("ec");
  world().module("drop-sessions");
  REQUIRE_FALSE(sign(token_key.get()).empty());
  world().module("delay-us C_Sign 20000");
  const auto on_threads = [&] {
    world().module("reset-counts");
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&] {
        for (int time = 0; time < 5; ++time) (void)sign(token_key.get());
      });
    }
    for (std::thread& thread : threads) thread.join();
    return world().module.count("peak-sessions");
  };
  world().module("fail C_OpenSession CKR_SESSION_COUNT");
  CHECK(on_threads() <= 1);
  world().module("no-fail C_OpenSession");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  CHECK(on_threads() > 1);
  world().module.clear();
}

// The last one: the token's list of mechanisms is read once a process.
TEST_CASE("faults: a token that hashes for itself gets the message after its refusal") {
  world().module("hide-mechanism 0x1\nhide-mechanism 0x3");
  const EvpPkey token_key = key("rsa");
  const EvpPkey judge = software_public(token_key.get());
  world().module("reset-counts");
  CHECK(signs(token_key.get(), judge.get()));
  CHECK(signs(token_key.get(), judge.get()));
  CHECK(world().module.count("C_Sign") == 2);
  CHECK(world().module.count("C_GetMechanismList") == 1);
  // Of an empty file no data comes at all.
  const EvpMdCtx operation(EVP_MD_CTX_new());
  std::string signature(256, '\0');
  std::size_t size = signature.size();
  REQUIRE(EVP_DigestSignInit_ex(operation.get(), nullptr, "SHA256", context().get(), nullptr,
                                token_key.get(), nullptr) == 1);
  REQUIRE(EVP_DigestSignFinal(operation.get(), reinterpret_cast<unsigned char*>(signature.data()),
                              &size) == 1);
  CHECK(hwid::test::verifies(judge.get(), "SHA256", "", signature));
  world().module.clear();
}

TEST_CASE("faults: a module without locks has one thread in it at a time") {
  const EvpPkey rsa = key("rsa");
  const EvpPkey judge = software_public(rsa.get());
  const auto calls_at_once = [&](const std::string& plan) {
    world().module.clear();
    if (!plan.empty()) world().module(plan);
    world().module("finalize");
    // It has its locks until it says otherwise, when it is initialized: by one thread.
    CHECK(signs(rsa.get(), judge.get()));
    world().module("reset-counts");
    hwid::test::life::on_threads(8, [&](int) {
      for (int time = 0; time < 5; ++time) CHECK(signs(rsa.get(), judge.get()));
    });
    const std::uint64_t peak = world().module.count("peak-calls");
    world().module.clear();
    return peak;
  };
  CHECK(calls_at_once("") > 1);
  for (const char* const refuses : {"os-locking CKR_CANT_LOCK", "arguments CKR_ARGUMENTS_BAD"})
    CHECK(calls_at_once(std::string("refuse ") + refuses) == 1);
}
