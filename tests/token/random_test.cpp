// The token's own random generator, for who asks for it by name.
#include <openssl/core_names.h>
#include <openssl/rand.h>

#include <array>
#include <cstdlib>
#include <set>

#include "tests/fixture/command.h"
#include "tests/token/life.h"

using namespace hwid::test;

namespace {

using EvpRandCtx = std::unique_ptr<EVP_RAND_CTX, FreeWith<EVP_RAND_CTX_free>>;

EvpRandCtx generator(const LibraryContext& context, const char* name,
                     const char* properties = nullptr) {
  EVP_RAND* const rand = EVP_RAND_fetch(context.get(), name, properties);
  if (rand == nullptr) return nullptr;
  EvpRandCtx made(EVP_RAND_CTX_new(rand, nullptr));
  EVP_RAND_free(rand);
  return made;
}

EvpRandCtx ready(const LibraryContext& context) {
  EvpRandCtx made = generator(context, "HWID-RAND");
  if (!made || EVP_RAND_instantiate(made.get(), 256, 0, nullptr, 0, nullptr) != 1)
    throw std::runtime_error("HWID-RAND:\n" + openssl_errors());
  return made;
}

// Empty if it fails.
std::string bytes(EVP_RAND_CTX* generator, std::size_t size) {
  std::string made(size, '\0');
  const int good = EVP_RAND_generate(generator, reinterpret_cast<unsigned char*>(made.data()), size,
                                     256, 0, nullptr, 0);
  return good == 1 ? made : "";
}

// Of a megabyte all values come; of `size` bytes that a token left as they were, only one.
std::size_t different(const std::string& bytes) {
  return std::set<char>(bytes.begin(), bytes.end()).size();
}

LibraryContext with_default_random(ProviderOrder order) {
  return LibraryContext(world().conf().order(order).setting("rand", "CTR-DRBG"));
}

bool random_bytes(const LibraryContext& context) {
  std::array<unsigned char, 32> made{};
  return RAND_bytes_ex(context.get(), made.data(), made.size(), 0) == 1;
}

}  // namespace

TEST_CASE("random: any number of bytes, from the token, under both names") {
  world().module.clear();
  for (const char* const name : {"HWID-RAND", "PKCS11-RAND"}) {
    const EvpRandCtx made = generator(context(), name);
    REQUIRE_MESSAGE(made, openssl_errors());
    CHECK(EVP_RAND_get_state(made.get()) == EVP_RAND_STATE_UNINITIALISED);
    REQUIRE(EVP_RAND_instantiate(made.get(), 256, 0, nullptr, 0, nullptr) == 1);
    CHECK(world().module.count("C_GenerateRandom") == 0);
    CHECK(EVP_RAND_get_state(made.get()) == EVP_RAND_STATE_READY);
    CHECK(EVP_RAND_get_strength(made.get()) == 256);
    for (const std::size_t size : {1U, 31U, 4096U, 4097U, 100000U}) {
      const std::string first = bytes(made.get(), size);
      REQUIRE_MESSAGE(first.size() == size, openssl_errors());
      if (size < 31) continue;
      CHECK(different(first) > 10);
      CHECK(different(first.substr(size - 31)) > 10);  // up to the end
      CHECK(bytes(made.get(), size) != first);
    }
    EVP_RAND_uninstantiate(made.get());
    CHECK(bytes(made.get(), 1).empty());
    (void)openssl_errors();
    world().module.clear();
  }
}

TEST_CASE("random: one call of the token for what it can give at once") {
  const EvpRandCtx made = ready(context());
  REQUIRE(bytes(made.get(), 1).size() == 1);
  world().module.clear();
  CHECK(bytes(made.get(), 32).size() == 32);
  CHECK(world().module.count("C_GenerateRandom") == 1);
  CHECK(world().module.total() == 1);
}

TEST_CASE("random: more strength than the token is trusted for is refused") {
  const EvpRandCtx made = generator(context(), "HWID-RAND");
  REQUIRE(made);
  CHECK(EVP_RAND_instantiate(made.get(), 512, 0, nullptr, 0, nullptr) != 1);
  CHECK(EVP_RAND_get_state(made.get()) == EVP_RAND_STATE_UNINITIALISED);
  (void)openssl_errors();
}

TEST_CASE("random: a token that fails is told by name, and asked again the next time") {
  const EvpRandCtx made = ready(context());
  REQUIRE(bytes(made.get(), 8).size() == 8);
  world().module("fail C_GenerateRandom 0x121 times=1");
  CHECK(bytes(made.get(), 8).empty());
  const std::string errors = openssl_errors();
  CHECK_MESSAGE(errors.find("C_GenerateRandom: CKR_RANDOM_NO_RNG") != std::string::npos, errors);
  CHECK(bytes(made.get(), 8).size() == 8);
  world().module.clear();
}

TEST_CASE("random: OpenSSL's own random numbers do not come from the token") {
  for (const ProviderOrder order : {ProviderOrder::kDefaultFirst, ProviderOrder::kHwidFirst}) {
    const LibraryContext own(world().conf().order(order));
    world().module.clear();
    CHECK(random_bytes(own));
    CHECK(world().module.count("C_GenerateRandom") == 0);
    CHECK_FALSE(generator(own, "CTR-DRBG", "provider=hwid"));
    (void)openssl_errors();
  }
}

TEST_CASE("random: where the configuration says so, they do") {
  const LibraryContext behind = with_default_random(ProviderOrder::kDefaultFirst);
  CHECK(generator(behind, "CTR-DRBG", "provider=hwid"));
  world().module.clear();
  CHECK(random_bytes(behind));
  CHECK(world().module.count("C_GenerateRandom") == 0);

  const LibraryContext first = with_default_random(ProviderOrder::kHwidFirst);
  CHECK_MESSAGE(random_bytes(first), openssl_errors());
  CHECK(world().module.count("C_GenerateRandom") > 0);
  const EvpPkey ec = first.private_key(world().token.uri("ec"));
  const std::string signature = sign(first.get(), ec.get(), "SHA256", "m");
  CHECK(verifies(ec.get(), "SHA256", "m", signature));
  world().module.clear();
}

TEST_CASE("random: a module that asks OpenSSL's default context, which asks the token") {
  const TemporaryDirectory directory;
  RunOptions options;
  options.environment = world().token.environment();
  options.environment["OPENSSL_CONF"] = OpensslConf()
                                            .order(ProviderOrder::kHwidFirst)
                                            .backend("dev", world().token.backend())
                                            .setting("rand", "CTR-DRBG")
                                            .write(directory.file("openssl.cnf"));
  if (const char* const preload = std::getenv("HWID_PRELOAD"))
    options.environment["LD_PRELOAD"] = preload;
  const RunResult random = run({"openssl", "rand", "-hex", "20000"}, options);
  CHECK_MESSAGE(random.ok(), random.err);
  CHECK(random.out.size() > 40000);
  const std::string message = directory.file("message");
  write_file(message, "m");
  for (const char* const label : {"rsa", "ec"}) {
    const RunResult signing =
        run({"openssl", "dgst", "-sha256", "-hex", "-sign", world().token.uri(label), message},
            options);
    CHECK_MESSAGE(signing.ok(), signing.err);
  }
}

TEST_CASE("random: a value that nobody knows changes nothing") {
  const LibraryContext own(
      world().conf().order(ProviderOrder::kHwidFirst).setting("rand", "always"));
  CHECK(generator(own, "HWID-RAND"));
  CHECK_FALSE(generator(own, "CTR-DRBG", "provider=hwid"));
  (void)openssl_errors();
}

TEST_CASE("random: a generator in software takes its seed from the token") {
  const EvpRandCtx parent = ready(context());
  EVP_RAND* const rand = EVP_RAND_fetch(context().get(), "CTR-DRBG", nullptr);
  const EvpRandCtx child(EVP_RAND_CTX_new(rand, parent.get()));
  EVP_RAND_free(rand);
  std::string cipher = "AES-256-CTR";
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_DRBG_PARAM_CIPHER, cipher.data(), 0),
      OSSL_PARAM_construct_end()};
  world().module.clear();
  REQUIRE(EVP_RAND_enable_locking(parent.get()) == 1);
  const int good = EVP_RAND_instantiate(child.get(), 256, 0, nullptr, 0, params);
  CHECK_MESSAGE(good == 1, openssl_errors());
  CHECK(world().module.count("C_GenerateRandom") > 0);
  const std::string made = bytes(child.get(), 64);
  CHECK(different(made) > 10);
}

TEST_CASE("random: parent and child go on after a fork, each with bytes of its own") {
  const EvpRandCtx made = ready(context());
  REQUIRE(bytes(made.get(), 16).size() == 16);
  CHECK(life::in_child([&] { return different(bytes(made.get(), 1000)) > 10; }));
  CHECK(different(bytes(made.get(), 1000)) > 10);
}

TEST_CASE("random: eight threads on one generator") {
  const EvpRandCtx made = ready(context());
  CHECK(!bytes(made.get(), 16).empty());  // SoftHSM's C_GetTokenInfo is not for two threads at once
  std::array<std::set<std::string>, 8> seen;
  life::on_threads(8, [&](int number) {
    for (int i = 0; i < 50; ++i)
      seen[static_cast<std::size_t>(number)].insert(bytes(made.get(), 16));
  });
  std::set<std::string> all;
  for (const std::set<std::string>& some : seen) all.insert(some.begin(), some.end());
  CHECK(all.size() == 400);
  CHECK(all.count("") == 0);
}
