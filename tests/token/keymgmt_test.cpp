#include <doctest/doctest.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/store.h>

#include <array>
#include <string>
#include <vector>

#include "tests/token/world.h"

using hwid::test::context;
using hwid::test::EvpPkey;
using hwid::test::key;
using hwid::test::KeyPair;
using hwid::test::openssl_errors;
using hwid::test::software_public;
using hwid::test::world;

namespace {

std::string octets(EVP_PKEY* pkey, const char* name) {
  std::string value(2048, '\0');
  std::size_t size = 0;
  if (EVP_PKEY_get_octet_string_param(pkey, name, reinterpret_cast<unsigned char*>(value.data()),
                                      value.size(), &size) != 1)
    return "none";
  value.resize(size);
  return value;
}

std::string text(EVP_PKEY* pkey, const char* name) {
  std::string value(256, '\0');
  std::size_t size = 0;
  if (EVP_PKEY_get_utf8_string_param(pkey, name, value.data(), value.size(), &size) != 1)
    return "none";
  value.resize(size);
  return value;
}

std::string number(EVP_PKEY* pkey, const char* name) {
  BIGNUM* value = nullptr;
  if (EVP_PKEY_get_bn_param(pkey, name, &value) != 1) return "none";
  char* const hex = BN_bn2hex(value);
  std::string result = hex;
  OPENSSL_free(hex);
  BN_free(value);
  return result;
}

struct Listed {
  std::vector<int> types;
  int errors = 0;
};

// What a program sees that loops to EOF without an expectation, as Greengrass does.
Listed list(const std::string& uri) {
  Listed listed;
  OSSL_STORE_CTX* const store = OSSL_STORE_open_ex(uri.c_str(), context().get(), nullptr, nullptr,
                                                   nullptr, nullptr, nullptr, nullptr);
  REQUIRE_MESSAGE(store != nullptr, openssl_errors());
  while (OSSL_STORE_eof(store) == 0) {
    OSSL_STORE_INFO* const info = OSSL_STORE_load(store);
    if (info == nullptr) {
      listed.errors = OSSL_STORE_error(store);
      continue;
    }
    listed.types.push_back(OSSL_STORE_INFO_get_type(info));
    OSSL_STORE_INFO_free(info);
  }
  OSSL_STORE_close(store);
  return listed;
}

}  // namespace

TEST_CASE("keymgmt: parameters are those of the same key in OpenSSL's own provider") {
  for (const char* const label : {"rsa", "ec", "ec384", "ec521"}) {
    CAPTURE(label);
    const EvpPkey private_key = key(label);
    const EvpPkey public_key = context().public_key(world().token.uri(label) + "");
    const EvpPkey judge = software_public(private_key.get());
    for (EVP_PKEY* const tested : {private_key.get(), public_key.get()}) {
      CHECK(EVP_PKEY_get_bits(tested) == EVP_PKEY_get_bits(judge.get()));
      CHECK(EVP_PKEY_get_security_bits(tested) == EVP_PKEY_get_security_bits(judge.get()));
      CHECK(EVP_PKEY_get_size(tested) == EVP_PKEY_get_size(judge.get()));
      CHECK(octets(tested, "encoded-pub-key") == octets(judge.get(), "encoded-pub-key"));
      CHECK(octets(tested, "pub") == octets(judge.get(), "pub"));
      CHECK(text(tested, "group") == text(judge.get(), "group"));
      CHECK(number(tested, "n") == number(judge.get(), "n"));
      CHECK(number(tested, "e") == number(judge.get(), "e"));
      CHECK(number(tested, "qx") == number(judge.get(), "qx"));
      CHECK(number(tested, "qy") == number(judge.get(), "qy"));
      std::array<char, 32> ours{};
      std::array<char, 32> theirs{};
      EVP_PKEY_get_default_digest_name(tested, ours.data(), ours.size());
      EVP_PKEY_get_default_digest_name(judge.get(), theirs.data(), theirs.size());
      CHECK(std::string(ours.data()) == theirs.data());
    }
    CHECK(number(private_key.get(), "d") == "none");
    CHECK(number(private_key.get(), "priv") == "none");
    CHECK(number(private_key.get(), "rsa-factor1") == "none");
    ERR_clear_error();
  }
}

TEST_CASE("keymgmt: a token key equals its software half, both ways round") {
  const EvpPkey rsa = key("rsa");
  const EvpPkey ec = key("ec");
  const EvpPkey rsa_half = software_public(rsa.get());
  const EvpPkey ec_half = software_public(ec.get());
  CHECK(EVP_PKEY_eq(rsa.get(), rsa_half.get()) == 1);
  CHECK(EVP_PKEY_eq(rsa_half.get(), rsa.get()) == 1);
  CHECK(EVP_PKEY_eq(ec.get(), ec_half.get()) == 1);
  CHECK(EVP_PKEY_eq(ec_half.get(), ec.get()) == 1);
  CHECK(EVP_PKEY_parameters_eq(ec.get(), ec_half.get()) == 1);
  CHECK(EVP_PKEY_eq(ec.get(), key("ec384").get()) != 1);
  CHECK(EVP_PKEY_eq(rsa.get(), key("rsa3072").get()) != 1);
  CHECK(EVP_PKEY_eq(rsa.get(), ec.get()) != 1);
  ERR_clear_error();
}

TEST_CASE("keymgmt: the private half does not come out, and the error says why") {
  const EvpPkey ec = key("ec");
  OSSL_PARAM* params = nullptr;
  CHECK(EVP_PKEY_todata(ec.get(), EVP_PKEY_KEYPAIR, &params) != 1);
  CHECK(openssl_errors().find("the private key stays on its token") != std::string::npos);
  CHECK(EVP_PKEY_todata(ec.get(), EVP_PKEY_PUBLIC_KEY, &params) == 1);
  OSSL_PARAM_free(params);
  CHECK(i2d_PrivateKey(ec.get(), nullptr) <= 0);
  CHECK(openssl_errors().find("stays on its token") != std::string::npos);
}

TEST_CASE("keymgmt: a copy of a key signs") {
  const EvpPkey ec = key("ec");
  const EvpPkey copy(EVP_PKEY_dup(ec.get()));
  REQUIRE_MESSAGE(copy, openssl_errors());
  const EvpPkey half = software_public(ec.get());
  const std::string signature = hwid::test::sign(context().get(), copy.get(), "SHA256", "m");
  CHECK(hwid::test::verifies(half.get(), "SHA256", "m", signature));
}

TEST_CASE("keymgmt: the public half is found wherever it is") {
  world().token.generate(KeyPair{"ec:P-256", "alone", "31", false});
  world().token.generate(KeyPair{"rsa:2048", "rsa-alone", "32", false});
  // RSA private objects hold modulus and exponent.
  const EvpPkey rsa = key("rsa-alone");
  CHECK(EVP_PKEY_get_bits(rsa.get()) == 2048);
  // Nothing says the public point: two signatures do. No more once it is known.
  const auto signatures = [] { return world().module.count("C_Sign"); };
  world().module.clear();
  const EvpPkey alone = key("alone");
  CHECK(signatures() == 2);
  const std::string signature = hwid::test::sign(context().get(), alone.get(), "SHA256", "m");
  CHECK(hwid::test::verifies(software_public(alone.get()).get(), "SHA256", "m", signature));
  (void)key("alone");
  CHECK(signatures() == 3);
  // Found again without one, too: a signature tells the key from others.
  for (const char* const loss : {"log-out", "drop-sessions", "finalize"}) {
    CAPTURE(loss);
    world().module(loss);
    const std::string later = hwid::test::sign(context().get(), alone.get(), "SHA256", "later");
    CHECK(hwid::test::verifies(software_public(alone.get()).get(), "SHA256", "later", later));
  }
  CHECK_FALSE(
      hwid::test::verifies(software_public(key("ec").get()).get(), "SHA256", "m", signature));
  const EvpPkey ec = key("ec");
  CHECK(EVP_PKEY_get_bits(ec.get()) == 256);
}

TEST_CASE("store: a partial URI lists keys, then public keys, and comes to an end") {
  const Listed named = list(world().token.uri("ec"));
  CHECK(named.types == std::vector<int>{OSSL_STORE_INFO_PKEY});
  CHECK(named.errors == 0);
  const Listed pair = list("pkcs11:token=" + world().token.label() + ";object=ec");
  CHECK(pair.types == std::vector<int>{OSSL_STORE_INFO_PKEY, OSSL_STORE_INFO_PUBKEY});
  const Listed all = list("pkcs11:token=" + world().token.label());
  CHECK(all.types.size() >= 10);
  CHECK(std::is_sorted(all.types.rbegin(), all.types.rend()));
  CHECK(all.errors == 0);
}

TEST_CASE("store: logical names, with and without slashes") {
  CHECK(list("hwid:device").types == std::vector<int>{OSSL_STORE_INFO_PKEY});
  CHECK(list("hwid://device").types == std::vector<int>{OSSL_STORE_INFO_PKEY});
  CHECK(list("hwid:nobody").errors != 0);
  CHECK(openssl_errors().find("the name is not configured") != std::string::npos);
}

TEST_CASE("store: the same key loaded again costs no call") {
  const EvpPkey first = key("ec521");
  world().module.clear();
  for (int round = 0; round < 5; ++round) {
    const EvpPkey again = key("ec521");
    CHECK(EVP_PKEY_eq(first.get(), again.get()) == 1);
  }
  CHECK(world().module.total() == 0);
}
