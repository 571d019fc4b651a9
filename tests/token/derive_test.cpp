#include <doctest/doctest.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <string>

#include "tests/fixture/operations.h"
#include "tests/token/world.h"

using hwid::test::context;
using hwid::test::derived;
using hwid::test::EvpPkey;
using hwid::test::EvpPkeyCtx;
using hwid::test::key;
using hwid::test::openssl_errors;
using hwid::test::software_public;
using hwid::test::world;

namespace {

EvpPkey software_key(const char* group) {
  return EvpPkey(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", group));
}

}  // namespace

TEST_CASE("derive: token and software agree, on every curve, and in any form of the point") {
  const std::pair<const char*, const char*> keys[] = {
      {"ec", "P-256"}, {"ec384", "P-384"}, {"ec521", "P-521"}};
  for (const auto& [label, group] : keys) {
    const auto& which = label;
    CAPTURE(std::string(which));
    const EvpPkey own = key(label);
    const EvpPkey own_public = software_public(own.get());
    const EvpPkey peer = software_key(group);
    const EvpPkey peer_public = software_public(peer.get());
    const std::string judged = derived(nullptr, peer.get(), own_public.get());
    CHECK(derived(context().get(), own.get(), peer_public.get()) == judged);
    REQUIRE(EVP_PKEY_set_utf8_string_param(
                peer_public.get(), OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "compressed") == 1);
    CHECK(derived(context().get(), own.get(), peer_public.get()) == judged);
    CHECK(derived(context().get(), own.get(), peer_public.get(), nullptr, judged.size()) == judged);
  }
}

TEST_CASE("derive: with the KDF of X9.63") {
  const EvpPkey own = key("ec");
  const EvpPkey own_public = software_public(own.get());
  const EvpPkey peer = software_key("P-256");
  std::size_t size = 70;
  char kdf[] = "X963KDF";
  char digest[] = "SHA384";
  char info[] = "shared info";
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE, kdf, 0),
      OSSL_PARAM_construct_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST, digest, 0),
      OSSL_PARAM_construct_size_t(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, &size),
      OSSL_PARAM_construct_octet_string(OSSL_EXCHANGE_PARAM_KDF_UKM, info, sizeof info - 1),
      OSSL_PARAM_construct_end()};
  const std::string judged = derived(nullptr, peer.get(), own_public.get(), params);
  CHECK(judged.size() == size);
  CHECK(derived(context().get(), own.get(), peer.get(), params) == judged);
}

TEST_CASE("derive: what cannot be is refused with its cause") {
  const EvpPkey own = key("ec");
  const EvpPkey other_curve = software_key("P-384");
  CHECK(derived(context().get(), own.get(), other_curve.get()) == "(failed)");
  openssl_errors();
  const EvpPkey peer = software_key("P-256");
  CHECK(derived(context().get(), own.get(), peer.get(), nullptr, 31) == "(failed)");
  CHECK(openssl_errors().find("the buffer has 31 bytes, the secret 32") != std::string::npos);
  world().module("hide-mechanism 0x1050");  // CKM_ECDH1_DERIVE
  CHECK(derived(context().get(), own.get(), peer.get()) == "(failed)");
  CHECK(openssl_errors().find("CKM_ECDH1_DERIVE") != std::string::npos);
  world().module("clear");
}

TEST_CASE("derive: nothing stays on the token, and it heals") {
  const EvpPkey own = key("ec");
  const EvpPkey own_public = software_public(own.get());
  const EvpPkey peer = software_key("P-256");
  const std::string judged = derived(nullptr, peer.get(), own_public.get());
  world().module("reset-counts");
  CHECK(derived(context().get(), own.get(), peer.get()) == judged);
  CHECK(world().module.count("C_DeriveKey") == 1);
  CHECK(world().module.count("C_DestroyObject") == 1);
  for (const char* const event : {"drop-sessions", "log-out", "reinitialize"}) {
    CAPTURE(event);
    world().module(event);
    CHECK(derived(context().get(), own.get(), peer.get()) == judged);
  }
}
