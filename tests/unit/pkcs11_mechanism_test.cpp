#include <doctest/doctest.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <memory>

#include "provider/pkcs11/mechanism.h"
#include "provider/pkcs11/public_half.h"

using namespace hwid;
using core::Digest;
using core::SignInput;
using core::SignScheme;
using pkcs11::MechanismChoice;
using pkcs11::PlanInput;

namespace {

constexpr SignScheme kPkcs1{SignScheme::Kind::kRsaPkcs1, Digest::kSha256};
constexpr SignScheme kPss{SignScheme::Kind::kRsaPss, Digest::kSha256, Digest::kSha256, 32};
constexpr SignScheme kEcdsa{SignScheme::Kind::kEcdsa, Digest::kSha384};

}  // namespace

TEST_CASE("pkcs11 mechanism: raw mechanisms come first") {
  const MechanismChoice any({});
  CHECK(any.choose(kPkcs1, nullptr, false)->mechanism == CKM_RSA_PKCS);
  CHECK(any.choose(kPkcs1, nullptr, false)->input == PlanInput::kDigestInfo);
  CHECK(any.choose(kPss, nullptr, false)->mechanism == CKM_RSA_PKCS_PSS);
  CHECK(any.choose(kEcdsa, nullptr, false)->mechanism == CKM_ECDSA);
  CHECK(any.choose({SignScheme::Kind::kRsaRaw}, nullptr, false)->mechanism == CKM_RSA_X_509);
  CHECK(any.sign_input({SignScheme::Kind::kRsaRaw}, nullptr) == SignInput::kDigest);
}

TEST_CASE("pkcs11 mechanism: PSS parameters name digest, MGF and salt") {
  const MechanismChoice any({});
  const SignScheme scheme{SignScheme::Kind::kRsaPss, Digest::kSha3_384, Digest::kSha1, 20};
  const auto plan = any.choose(scheme, nullptr, false);
  REQUIRE(plan);
  REQUIRE(plan->pss);
  CHECK(plan->pss->hashAlg == pkcs11::kSha3_384);
  CHECK(plan->pss->mgf == CKG_MGF1_SHA1);
  CHECK(plan->pss->sLen == 20);
}

TEST_CASE("pkcs11 mechanism: a PSS digest without a PKCS#11 name is padded in software") {
  const MechanismChoice any({});
  const SignScheme scheme{SignScheme::Kind::kRsaPss, Digest::kSha512_256, Digest::kSha512_256, 32};
  const auto plan = any.choose(scheme, nullptr, false);
  REQUIRE(plan);
  CHECK(plan->mechanism == CKM_RSA_X_509);
  CHECK(plan->input == PlanInput::kEmsaPss);
}

TEST_CASE("pkcs11 mechanism: what the token refused is not tried again, for that digest alone") {
  MechanismChoice choice({});
  choice.refuse(*choice.choose(kPss, nullptr, false), CKR_MECHANISM_INVALID);
  CHECK(choice.choose(kPss, nullptr, false)->input == PlanInput::kEmsaPss);
  const SignScheme other{SignScheme::Kind::kRsaPss, Digest::kSha512, Digest::kSha512, 64};
  CHECK(choice.choose(other, nullptr, false)->mechanism == CKM_RSA_PKCS_PSS);
}

TEST_CASE("pkcs11 mechanism: a refusal that may be about the salt is remembered for that salt") {
  MechanismChoice choice({});
  choice.refuse(*choice.choose(kPss, nullptr, false), CKR_MECHANISM_PARAM_INVALID);
  CHECK(choice.choose(kPss, nullptr, false)->input == PlanInput::kEmsaPss);
  SignScheme other = kPss;
  other.salt_size = 20;
  CHECK(choice.choose(other, nullptr, false)->mechanism == CKM_RSA_PKCS_PSS);
}

TEST_CASE("pkcs11 mechanism: the message is kept until a digest was accepted or refused") {
  MechanismChoice choice({});
  CHECK(choice.sign_input(kEcdsa, nullptr) == SignInput::kUnsure);
  CHECK(choice.sign_input({SignScheme::Kind::kEcdsa}, nullptr) == SignInput::kDigest);
  const auto raw = *choice.choose(kEcdsa, nullptr, false);
  choice.accept(raw);
  CHECK(choice.sign_input(kEcdsa, nullptr) == SignInput::kDigest);
  choice.refuse(raw, CKR_MECHANISM_INVALID);
  CHECK(choice.sign_input(kEcdsa, nullptr) == SignInput::kMessage);
  const std::vector<CK_MECHANISM_TYPE> without{CKM_RSA_PKCS};
  CHECK(choice.sign_input(kEcdsa, &without) == SignInput::kDigest);
}

TEST_CASE("pkcs11 mechanism: a key that may only hash and sign wants the message") {
  const MechanismChoice choice({CKM_SHA256_RSA_PKCS});
  CHECK(choice.sign_input(kPkcs1, nullptr) == SignInput::kMessage);
  CHECK(choice.choose(kPkcs1, nullptr, true)->mechanism == CKM_SHA256_RSA_PKCS);
  CHECK_FALSE(choice.choose(kPkcs1, nullptr, false));
  CHECK(choice.sign_input(kPss, nullptr) == SignInput::kDigest);
  CHECK_FALSE(choice.choose(kPss, nullptr, true));
}

TEST_CASE("pkcs11 mechanism: the token's list restricts the choice") {
  const MechanismChoice any({});
  const std::vector<CK_MECHANISM_TYPE> hashing{CKM_ECDSA_SHA384, CKM_SHA256_RSA_PKCS};
  CHECK(any.choose(kEcdsa, &hashing, true)->mechanism == CKM_ECDSA_SHA384);
  const std::vector<CK_MECHANISM_TYPE> raw{CKM_RSA_X_509};
  CHECK(any.choose(kPkcs1, &raw, false)->input == PlanInput::kEmsaPkcs1);
  CHECK_FALSE(any.choose(kEcdsa, &raw, false));
}

TEST_CASE("pkcs11 mechanism: names") {
  CHECK(pkcs11::mechanism_name(CKM_SHA512_RSA_PKCS_PSS) == "CKM_SHA512_RSA_PKCS_PSS");
  CHECK(pkcs11::mechanism_name(0x80001234) == "CKM_0x80001234");
  CHECK(pkcs11::signing_mechanisms({CKM_AES_CBC, CKM_ECDSA, CKM_RSA_PKCS}, core::Algorithm::kEc) ==
        "CKM_ECDSA");
  CHECK(pkcs11::signing_mechanisms({CKM_AES_CBC}, core::Algorithm::kRsa) == "none");
}

TEST_CASE("pkcs11 mechanism: CKA_ALLOWED_MECHANISMS that make a key PSS only") {
  CHECK_FALSE(pkcs11::allows_only_pss({}));
  CHECK(pkcs11::allows_only_pss(pkcs11::pss_mechanisms()));
  CHECK(pkcs11::allows_only_pss({CKM_SHA256_RSA_PKCS_PSS}));
  CHECK_FALSE(pkcs11::allows_only_pss({CKM_RSA_PKCS_PSS, CKM_RSA_PKCS}));
}

TEST_CASE("pkcs11 public half: SubjectPublicKeyInfo of plain RSA on a key for PSS only") {
  const core::Libcrypto crypto;
  const std::unique_ptr<EVP_PKEY, core::FreeWith<EVP_PKEY_free>> made(EVP_RSA_gen(2048));
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(made.get(), &der);
  REQUIRE(size > 0);
  pkcs11::ObjectAttributes object;
  object.key_type = CKK_RSA;
  object.public_key_info.assign(der, der + size);
  OPENSSL_free(der);
  const auto plain = pkcs11::public_key_of(crypto, object, false);
  REQUIRE(plain);
  CHECK(plain->algorithm() == core::Algorithm::kRsa);
  const auto restricted = pkcs11::public_key_of(crypto, object, true);
  REQUIRE(restricted);
  CHECK(restricted->algorithm() == core::Algorithm::kRsaPss);
  CHECK(restricted->bits() == 2048);
}
