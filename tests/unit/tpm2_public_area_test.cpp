#include <doctest/doctest.h>
#include <openssl/pem.h>

#include "provider/core/error.h"
#include "provider/core/libcrypto.h"
#include "provider/tpm2/public_area.h"
#include "tests/unit/tpm2_data.h"

using namespace hwid;
using core::Algorithm;
using core::Bytes;
using core::Digest;
using core::Error;
using core::KeySpec;
using core::Reason;
using tpm2::KeyTraits;

namespace {

const core::Libcrypto& crypto() {
  static const core::Libcrypto made;
  return made;
}

TPMT_PUBLIC area_of(const std::string& name) {
  return test::tss2_key("tpm2-tools-" + name + ".pem").public_area.publicArea;
}

core::PublicKey told_by_tools(const std::string& name) {
  const Bytes pem = test::tss2_file("tpm2-tools-" + name + ".public.pem");
  const core::Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const core::EvpPkey key(PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr));
  REQUIRE(key != nullptr);
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key.get(), &der);
  const Bytes spki(der, der + size);
  OPENSSL_free(der);
  return core::PublicKey::from_spki(crypto(), spki);
}

template <typename Body>
std::string refusal(Reason reason, Body body) {
  try {
    body();
  } catch (const Error& error) {
    CHECK(error.reason == reason);
    return error.what();
  }
  return "accepted";
}

bool says(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

// A key pair of OpenSSL's as the TPM would show it.
TPMT_PUBLIC ec_area(const char* group, TPM2_ECC_CURVE curve) {
  const core::EvpPkey pair(EVP_PKEY_Q_keygen(crypto().get(), nullptr, "EC", group));
  REQUIRE(pair != nullptr);
  unsigned char* point = nullptr;
  const std::size_t size = EVP_PKEY_get1_encoded_public_key(pair.get(), &point);
  KeySpec spec;
  spec.algorithm = Algorithm::kEc;
  TPMT_PUBLIC area = tpm2::key_template(spec, Digest::kSha256, false).publicArea;
  area.parameters.eccDetail.curveID = curve;
  const std::size_t half = (size - 1) / 2;
  area.unique.ecc.x.size = area.unique.ecc.y.size = static_cast<UINT16>(half);
  std::copy(point + 1, point + 1 + half, area.unique.ecc.x.buffer);
  std::copy(point + 1 + half, point + size, area.unique.ecc.y.buffer);
  OPENSSL_free(point);
  return area;
}

constexpr TPMA_OBJECT kNewKey = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                                TPMA_OBJECT_SIGN_ENCRYPT;

}  // namespace

TEST_CASE("public area: key and name are what tpm2-tools say") {
  for (const char* const name : {"ec", "ec-auth", "rsa", "restricted"}) {
    CAPTURE(name);
    const TPMT_PUBLIC area = area_of(name);
    CHECK(tpm2::public_key(crypto(), area) == told_by_tools(name));
    CHECK(core::to_hex(tpm2::object_name(crypto(), area)) + "\n" ==
          test::read_file(test::tss2_path("tpm2-tools-" + std::string(name) + ".name")));
  }
}

TEST_CASE("public area: only the whole of one is read") {
  const TPM2B_PUBLIC area = test::tss2_key("tpm2-tools-rsa.pem").public_area;
  const Bytes bytes = tpm2::marshal_public(area);
  const auto again = tpm2::unmarshal_public(bytes);
  REQUIRE(again.has_value());
  CHECK(tpm2::marshal_public(*again) == bytes);
  Bytes longer = bytes;
  longer.push_back(0);
  CHECK_FALSE(tpm2::unmarshal_public(longer).has_value());
  longer[1] = static_cast<std::uint8_t>(longer[1] + 1);  // the size field agrees, the rest does not
  CHECK_FALSE(tpm2::unmarshal_public(longer).has_value());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    Bytes shorter(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK_FALSE(tpm2::unmarshal_public(shorter).has_value());
    if (size < 2) continue;
    shorter[0] = static_cast<std::uint8_t>((size - 2) >> 8);
    shorter[1] = static_cast<std::uint8_t>((size - 2) & 0xff);
    CHECK_FALSE(tpm2::unmarshal_public(shorter).has_value());
  }
  CHECK_FALSE(tpm2::unmarshal_public(Bytes(sizeof(TPM2B_PUBLIC) + 1, 0)).has_value());
}

TEST_CASE("public area: exponent 0 is 65537, others are as they stand") {
  TPMT_PUBLIC area = area_of("rsa");
  CHECK(area.parameters.rsaDetail.exponent == 0);
  const core::PublicKey key = tpm2::public_key(crypto(), area);
  area.parameters.rsaDetail.exponent = 0x10001;
  CHECK(tpm2::public_key(crypto(), area) == key);
  area.parameters.rsaDetail.exponent = 17;
  CHECK_FALSE(tpm2::public_key(crypto(), area) == key);
  area.parameters.rsaDetail.keyBits = 3072;
  CHECK(says(refusal(Reason::kBadParameter, [&] { tpm2::public_key(crypto(), area); }),
             "3072 bits and has a modulus of 2048"));
}

TEST_CASE("public area: the curves that OpenSSL has, and those that it has not") {
  const struct {
    const char* group;
    TPM2_ECC_CURVE curve;
    std::size_t bits;
  } curves[] = {{"P-192", TPM2_ECC_NIST_P192, 192},
                {"P-224", TPM2_ECC_NIST_P224, 224},
                {"P-256", TPM2_ECC_NIST_P256, 256},
                {"P-384", TPM2_ECC_NIST_P384, 384},
                {"P-521", TPM2_ECC_NIST_P521, 521}};
  for (const auto& row : curves) {
    CAPTURE(row.group);
    const TPMT_PUBLIC area = ec_area(row.group, row.curve);
    CHECK(tpm2::public_key(crypto(), area).bits() == row.bits);
    CHECK(tpm2::key_traits(area).bits == row.bits);
  }
  TPMT_PUBLIC area = ec_area("P-256", TPM2_ECC_NIST_P256);
  const core::PublicKey key = tpm2::public_key(crypto(), area);
  const auto try_curve = [&](TPM2_ECC_CURVE curve) {
    area.parameters.eccDetail.curveID = curve;
    (void)tpm2::key_traits(area);
  };
  CHECK(says(refusal(Reason::kUnsupported, [&] { try_curve(TPM2_ECC_BN_P256); }), "BN-256"));
  CHECK(says(refusal(Reason::kUnsupported, [&] { try_curve(TPM2_ECC_SM2_P256); }), "SM2"));
  CHECK(says(refusal(Reason::kUnsupported, [&] { try_curve(0x77); }), "0x77"));
  area.parameters.eccDetail.curveID = TPM2_ECC_NIST_P256;
  area.unique.ecc.x.buffer[0] ^= 1;
  CHECK_THROWS_AS(tpm2::public_key(crypto(), area), Error);  // not on the curve
  area.unique.ecc.x.size = 0;
  CHECK(says(refusal(Reason::kBadParameter, [&] { tpm2::public_key(crypto(), area); }),
             "coordinate of 0 bytes"));
  area.unique.ecc.x.size = 33;
  CHECK_THROWS_AS(tpm2::public_key(crypto(), area), Error);
}

TEST_CASE("public area: a coordinate whose leading zeros the TPM left out") {
  for (;;) {
    TPMT_PUBLIC area = ec_area("P-256", TPM2_ECC_NIST_P256);
    TPM2B_ECC_PARAMETER& x = area.unique.ecc.x;
    if (x.buffer[0] != 0) continue;
    const core::PublicKey key = tpm2::public_key(crypto(), area);
    std::copy(x.buffer + 1, x.buffer + 32, x.buffer);
    x.size = 31;
    CHECK(tpm2::public_key(crypto(), area) == key);
    break;
  }
}

TEST_CASE("public area: what is no key pair is refused") {
  const TPMT_PUBLIC area = test::tss2_key("sealed.pem").public_area.publicArea;
  CHECK(says(refusal(Reason::kUnsupported, [&] { tpm2::public_key(crypto(), area); }),
             "TPM2_ALG_KEYEDHASH"));
  CHECK(says(refusal(Reason::kUnsupported, [&] { tpm2::key_traits(area); }), "no key pair"));
}

TEST_CASE("public area: traits") {
  const KeyTraits ec = tpm2::key_traits(area_of("ec"));
  CHECK(ec.algorithm == Algorithm::kEc);
  CHECK(ec.sign);
  CHECK(ec.decrypt);
  CHECK_FALSE(ec.restricted);
  CHECK(ec.no_da);
  CHECK(ec.user_with_auth);
  CHECK_FALSE(ec.has_policy);
  CHECK(ec.scheme == TPM2_ALG_NULL);
  CHECK(ec.scheme_hash == TPM2_ALG_NULL);
  const KeyTraits with_auth = tpm2::key_traits(area_of("ec-auth"));
  CHECK_FALSE(with_auth.no_da);
  CHECK_FALSE(with_auth.decrypt);
  CHECK(with_auth.bits == 384);
  const KeyTraits restricted = tpm2::key_traits(area_of("restricted"));
  CHECK(restricted.algorithm == Algorithm::kRsa);
  CHECK(restricted.restricted);
  CHECK(restricted.scheme == TPM2_ALG_RSASSA);
  CHECK(restricted.scheme_hash == TPM2_ALG_SHA256);
  const KeyTraits policy = tpm2::key_traits(test::tss2_key("policy.pem").public_area.publicArea);
  CHECK(policy.has_policy);
  CHECK_FALSE(policy.user_with_auth);
  TPMT_PUBLIC x509 = area_of("ec");
  x509.objectAttributes |= TPMA_OBJECT_X509SIGN;
  CHECK_FALSE(tpm2::key_traits(x509).sign);
}

TEST_CASE("public area: templates of new keys") {
  KeySpec spec;
  const TPMT_PUBLIC rsa = tpm2::key_template(spec, Digest::kSha256, false).publicArea;
  CHECK(rsa.type == TPM2_ALG_RSA);
  CHECK(rsa.nameAlg == TPM2_ALG_SHA256);
  CHECK(rsa.objectAttributes == (kNewKey | TPMA_OBJECT_DECRYPT | TPMA_OBJECT_NODA));
  CHECK(rsa.parameters.rsaDetail.keyBits == 2048);
  CHECK(rsa.parameters.rsaDetail.exponent == 0);
  CHECK(rsa.parameters.rsaDetail.scheme.scheme == TPM2_ALG_NULL);
  CHECK(tpm2::key_template(spec, Digest::kSha256, true).publicArea.objectAttributes ==
        (kNewKey | TPMA_OBJECT_DECRYPT));
  spec.rsa_exponent = {0, 3};
  CHECK(tpm2::key_template(spec, Digest::kSha256, false).publicArea.parameters.rsaDetail.exponent ==
        3);
  spec.rsa_exponent = {1, 0, 0, 0, 1};
  CHECK(
      says(refusal(Reason::kUnsupported, [&] { tpm2::key_template(spec, Digest::kSha256, false); }),
           "32 bits"));
  spec.rsa_exponent = {1, 0, 1};
  spec.rsa_bits = 65536 + 2048;
  CHECK_THROWS_AS(tpm2::key_template(spec, Digest::kSha256, false), Error);

  spec.rsa_bits = 3072;
  spec.algorithm = Algorithm::kRsaPss;
  const TPMT_PUBLIC pss = tpm2::key_template(spec, Digest::kSha384, false).publicArea;
  CHECK(pss.objectAttributes == (kNewKey | TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED));
  CHECK(pss.parameters.rsaDetail.scheme.scheme == TPM2_ALG_RSAPSS);
  CHECK(pss.parameters.rsaDetail.scheme.details.rsapss.hashAlg == TPM2_ALG_SHA384);
  CHECK(tpm2::key_traits(pss).algorithm == Algorithm::kRsaPss);
  CHECK(
      says(refusal(Reason::kUnsupported, [&] { tpm2::key_template(spec, Digest::kSha224, false); }),
           "SHA2-224"));

  spec.algorithm = Algorithm::kEc;
  for (const auto& [group, curve] : std::initializer_list<std::pair<const char*, TPM2_ECC_CURVE>>{
           {"P-256", TPM2_ECC_NIST_P256},
           {"prime256v1", TPM2_ECC_NIST_P256},
           {"secp384r1", TPM2_ECC_NIST_P384},
           {"P-521", TPM2_ECC_NIST_P521}}) {
    spec.group = group;
    const TPMT_PUBLIC ec = tpm2::key_template(spec, Digest::kSha256, false).publicArea;
    CHECK(ec.type == TPM2_ALG_ECC);
    CHECK(ec.parameters.eccDetail.curveID == curve);
  }
  spec.group = "brainpoolP256r1";
  CHECK(
      says(refusal(Reason::kUnsupported, [&] { tpm2::key_template(spec, Digest::kSha256, false); }),
           "brainpoolP256r1"));
}

TEST_CASE("public area: a persistent parent is known by the storage templates") {
  const auto saved =
      std::get<tpm2::SavedHandle>(tpm2::parse_key_file(test::tss2_file("saved-handle.obj")));
  const TPMT_PUBLIC& parent = saved.public_area.publicArea;
  const TPMT_PUBLIC ec = tpm2::storage_template(tpm2::StorageKey::kP256).publicArea;
  const TPMT_PUBLIC rsa = tpm2::storage_template(tpm2::StorageKey::kRsa2048).publicArea;
  CHECK(tpm2::matches_template(parent, ec));
  CHECK_FALSE(tpm2::matches_template(parent, rsa));
  CHECK_FALSE(tpm2::matches_template(area_of("ec"), ec));
  TPMT_PUBLIC made = rsa;
  made.parameters.rsaDetail.exponent = 0x10001;
  made.unique.rsa.size = 256;
  CHECK(tpm2::matches_template(made, rsa));
  made.objectAttributes &= ~TPMA_OBJECT_NODA;
  CHECK_FALSE(tpm2::matches_template(made, rsa));
  TPMT_PUBLIC formless = rsa;
  formless.authPolicy.size = sizeof formless.authPolicy.buffer + 1;
  CHECK_FALSE(tpm2::matches_template(formless, rsa));
  CHECK_FALSE(tpm2::matches_template(formless, formless));
}
