#include <doctest/doctest.h>
#include <tss2/tss2_mu.h>

#include <algorithm>

#include "provider/core/error.h"
#include "provider/tpm2/endorsement.h"
#include "provider/tpm2/policy.h"

using namespace hwid;
using core::Bytes;

namespace {

const tpm2::EkType& named(const char* name) {
  const tpm2::EkType* const type = tpm2::ek_type_named(name);
  REQUIRE(type != nullptr);
  return *type;
}

Bytes policy_of(const TPMT_PUBLIC& area) {
  return {area.authPolicy.buffer, area.authPolicy.buffer + area.authPolicy.size};
}

// What TPM2_PolicySecret of the endorsement hierarchy makes.
Bytes policy_a(TPMI_ALG_HASH hash) {
  const core::Libcrypto crypto;
  tpm2::SecretStatement statement;
  statement.object = TPM2_RH_ENDORSEMENT;
  statement.name = {0x40, 0, 0, 0x0b};
  return tpm2::policy_digest(crypto, hash, {{statement}}).value();
}

Bytes unhex(std::string_view text) {
  Bytes bytes;
  for (std::size_t at = 0; at < text.size(); at += 2)
    bytes.push_back(
        static_cast<std::uint8_t>(std::stoi(std::string(text.substr(at, 2)), nullptr, 16)));
  return bytes;
}

// PolicyA or PolicyC; the latter is that of the profile (B.6.4), by TPM2_PolicyAuthorizeNV.
Bytes policy_b(TPMI_ALG_HASH hash, std::string_view policy_c) {
  const core::Libcrypto crypto;
  tpm2::OrStatement either;
  either.digests = {policy_a(hash), unhex(policy_c)};
  return tpm2::policy_digest(crypto, hash, {{either}}).value();
}

Bytes marshalled(const TPMT_PUBLIC& area) {
  Bytes bytes(sizeof area);
  std::size_t size = 0;
  REQUIRE(Tss2_MU_TPMT_PUBLIC_Marshal(&area, bytes.data(), bytes.size(), &size) == TSS2_RC_SUCCESS);
  bytes.resize(size);
  return bytes;
}

}  // namespace

TEST_CASE("endorsement: TCG's addresses") {
  CHECK(tpm2::ek_type_at(0x01c00002) == &named("L-1"));
  CHECK(tpm2::ek_type_at(0x01c0000a) == &named("l-2"));
  CHECK(tpm2::ek_type_at(0x01c00016) == &named("H-3"));
  CHECK(tpm2::ek_type_at(0x01c00003) == nullptr);
  CHECK(tpm2::ek_type_named("H-5") == nullptr);
  CHECK(tpm2::ek_type_named("") == nullptr);
  CHECK(tpm2::nv_meaning(0x01c00012) == "EK certificate RSA 2048");
  CHECK(tpm2::nv_meaning(0x01c0000b) == "EK nonce EC P-256");
  CHECK(tpm2::nv_meaning(0x01c00004) == "EK template RSA 2048");
  CHECK(tpm2::nv_meaning(0x01c00101) == "EK certificate chain");
  CHECK(tpm2::nv_meaning(0x01c08000) == "platform certificate");
  CHECK(tpm2::nv_meaning(0x01800001).empty());
  CHECK(tpm2::nv_meaning(0).empty());
}

TEST_CASE("endorsement: the policies of the templates are what their statements make") {
  CHECK(policy_of(tpm2::ek_template(named("L-1"))) == policy_a(TPM2_ALG_SHA256));
  CHECK(policy_of(tpm2::ek_template(named("L-2"))) == policy_a(TPM2_ALG_SHA256));
  const Bytes sha256 =
      policy_b(TPM2_ALG_SHA256, "3767e2edd43ff45a3a7e1eaefcef78643dca964632e7aad82c673a30d8633fde");
  const Bytes sha384 =
      policy_b(TPM2_ALG_SHA384,
               "d6032ce61f2fb3c240eb3cf6a33237ef2b6a16f4293c22b455e261cffd217ad5b4947c2d73e63005"
               "eed2dc2b3593d165");
  const Bytes sha512 =
      policy_b(TPM2_ALG_SHA512,
               "589ee1e146544716e8deafe6db247b01b81e9f9c7dd16b814aa159138749105fba5388dd1dea702f"
               "35240c184933121e2c61b8f50d3ef91393a49a38c3f73fc8");
  for (const char* const name : {"H-1", "H-2"})
    CHECK(policy_of(tpm2::ek_template(named(name))) == sha256);
  for (const char* const name : {"H-3", "H-6", "H-7"})
    CHECK(policy_of(tpm2::ek_template(named(name))) == sha384);
  CHECK(policy_of(tpm2::ek_template(named("H-4"))) == sha512);
}

TEST_CASE("endorsement: what the TPM has at the addresses of nonce and template counts") {
  const Bytes nonce(20, 0x5a);
  const TPMT_PUBLIC rsa = tpm2::ek_template(named("L-1"), nonce);
  CHECK(rsa.unique.rsa.size == 256);
  CHECK(std::all_of(rsa.unique.rsa.buffer, rsa.unique.rsa.buffer + 20,
                    [](BYTE byte) { return byte == 0x5a; }));
  CHECK(std::all_of(rsa.unique.rsa.buffer + 20, rsa.unique.rsa.buffer + 256,
                    [](BYTE byte) { return byte == 0; }));
  const TPMT_PUBLIC ecc = tpm2::ek_template(named("L-2"), nonce);
  CHECK(ecc.unique.ecc.x.size == 32);
  CHECK(ecc.unique.ecc.x.buffer[19] == 0x5a);
  CHECK(ecc.unique.ecc.x.buffer[20] == 0);
  CHECK(ecc.unique.ecc.y.size == 32);
  CHECK(ecc.unique.ecc.y.buffer[0] == 0);
  CHECK(tpm2::ek_template(named("H-3")).unique.ecc.x.size == 0);

  TPMT_PUBLIC own = tpm2::ek_template(named("L-2"));
  own.objectAttributes |= TPMA_OBJECT_USERWITHAUTH;
  own.unique.ecc.y.buffer[3] = 9;
  CHECK(marshalled(tpm2::ek_template(named("L-2"), {}, marshalled(own))) == marshalled(own));
  const TPMT_PUBLIC both = tpm2::ek_template(named("L-2"), nonce, marshalled(own));
  CHECK(both.objectAttributes == own.objectAttributes);
  CHECK(both.unique.ecc.x.buffer[19] == 0x5a);
  CHECK(both.unique.ecc.y.buffer[3] == 0);
  TPMT_PUBLIC signs = own;  // not what the maker of a TPM certifies as such a key
  signs.objectAttributes &= ~TPMA_OBJECT_RESTRICTED;
  for (const Bytes& wrong : {Bytes{1, 2, 3}, marshalled(rsa), marshalled(signs)})
    CHECK_THROWS_AS(tpm2::ek_template(named("L-2"), {}, wrong), core::Error);
}
