// hwid verify-attestation and hwid attest: each check is forged once, by keys that are in no TPM.
#include <doctest/doctest.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <tss2/tss2_mu.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <functional>

#include "provider/core/error.h"
#include "provider/tpm2/session_crypto.h"
#include "tools/attest/challenge.h"
#include "tools/attest/checks.h"
#include "tools/attest/evidence.h"

namespace {

using namespace hwid;
using attest::Evidence;
using attest::Expectation;
using attest::Statement;
using core::Bytes;
using core::ByteView;

const Bytes kNonce = {0xde, 0xad, 0xbe, 0xef};
constexpr TPMA_OBJECT kStays =
    TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN;
constexpr TPMA_OBJECT kAkAttributes =
    kStays | TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_SIGN_ENCRYPT;

template <typename Sized>
void fill(Sized& sized, ByteView bytes) {
  sized.size = static_cast<UINT16>(bytes.size());
  std::ranges::copy(bytes, sized.buffer);
}

struct SoftwareKey {
  core::EvpPkey pkey{EVP_EC_gen("P-256")};
  TPM2B_PUBLIC area{};

  SoftwareKey(TPMA_OBJECT attributes, TPM2_ALG_ID scheme) {
    TPMT_PUBLIC& area_of = area.publicArea;
    area_of.type = TPM2_ALG_ECC;
    area_of.nameAlg = TPM2_ALG_SHA256;
    area_of.objectAttributes = attributes;
    TPMS_ECC_PARMS& ecc = area_of.parameters.eccDetail;
    ecc.symmetric.algorithm = TPM2_ALG_NULL;
    ecc.scheme.scheme = scheme;
    ecc.scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
    ecc.curveID = TPM2_ECC_NIST_P256;
    ecc.kdf.scheme = TPM2_ALG_NULL;
    coordinate(OSSL_PKEY_PARAM_EC_PUB_X, area_of.unique.ecc.x);
    coordinate(OSSL_PKEY_PARAM_EC_PUB_Y, area_of.unique.ecc.y);
  }

 private:
  void coordinate(const char* name, TPM2B_ECC_PARAMETER& out) const {
    BIGNUM* number = nullptr;
    REQUIRE(EVP_PKEY_get_bn_param(pkey.get(), name, &number) == 1);
    const core::BigNum owner(number);
    out.size = 32;
    REQUIRE(BN_bn2binpad(number, out.buffer, out.size) == 32);
  }
};

// As TPM2_Certify and its like sign: ECDSA over the hash of what is attested.
TPMT_SIGNATURE sign(EVP_PKEY* key, ByteView data, TPMI_ALG_HASH hash = TPM2_ALG_SHA256) {
  const EVP_MD* const md = hash == TPM2_ALG_SHA1 ? EVP_sha1() : EVP_sha256();
  const core::EvpMdCtx context(EVP_MD_CTX_new());
  std::array<unsigned char, 128> der{};
  std::size_t size = der.size();
  REQUIRE(EVP_DigestSignInit(context.get(), nullptr, md, nullptr, key) == 1);
  REQUIRE(EVP_DigestSign(context.get(), der.data(), &size, data.data(), data.size()) == 1);
  const unsigned char* at = der.data();
  const std::unique_ptr<ECDSA_SIG, core::FreeWith<ECDSA_SIG_free>> parts(
      d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(size)));
  TPMT_SIGNATURE signature{};
  signature.sigAlg = TPM2_ALG_ECDSA;
  signature.signature.ecdsa.hash = hash;
  signature.signature.ecdsa.signatureR.size = signature.signature.ecdsa.signatureS.size = 32;
  BN_bn2binpad(ECDSA_SIG_get0_r(parts.get()), signature.signature.ecdsa.signatureR.buffer, 32);
  BN_bn2binpad(ECDSA_SIG_get0_s(parts.get()), signature.signature.ecdsa.signatureS.buffer, 32);
  return signature;
}

Bytes marshalled(const TPMS_ATTEST& attest) {
  Bytes bytes(sizeof attest);
  std::size_t size = 0;
  REQUIRE(Tss2_MU_TPMS_ATTEST_Marshal(&attest, bytes.data(), bytes.size(), &size) ==
          TSS2_RC_SUCCESS);
  bytes.resize(size);
  return bytes;
}

TPMS_ATTEST begin(TPMI_ST_ATTEST type) {
  TPMS_ATTEST attest{};
  attest.magic = TPM2_GENERATED_VALUE;
  attest.type = type;
  attest.extraData.size = static_cast<UINT16>(kNonce.size());
  std::ranges::copy(kNonce, attest.extraData.buffer);
  return attest;
}

// A TPM of one's own making: its keys could be anybody's, so only who trusts its AK is deceived.
struct World {
  core::Libcrypto crypto;
  SoftwareKey ak{kAkAttributes, TPM2_ALG_ECDSA};
  SoftwareKey key{kStays | TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_SIGN_ENCRYPT, TPM2_ALG_NULL};
  Bytes creation_data = {1, 2, 3, 4};
  std::vector<tpm2::PcrValue> pcrs = {{TPM2_ALG_SHA256, 0, Bytes(32, 0xaa)},
                                      {TPM2_ALG_SHA256, 7, Bytes(32, 0xbb)}};

  Bytes name(const TPM2B_PUBLIC& area) const { return tpm2::object_name(crypto, area.publicArea); }
  void set_name(TPM2B_NAME& out, const TPM2B_PUBLIC& area) const {
    const Bytes bytes = name(area);
    out.size = static_cast<UINT16>(bytes.size());
    std::ranges::copy(bytes, out.name);
  }
  Statement sealed(const TPMS_ATTEST& attest) const {
    const Bytes bytes = marshalled(attest);
    return {bytes, attest::marshal_signature(sign(ak.pkey.get(), bytes))};
  }
  TPMS_ATTEST certify() const {
    TPMS_ATTEST attest = begin(TPM2_ST_ATTEST_CERTIFY);
    set_name(attest.attested.certify.name, key.area);
    return attest;
  }
  TPMS_ATTEST creation() const {
    TPMS_ATTEST attest = begin(TPM2_ST_ATTEST_CREATION);
    set_name(attest.attested.creation.objectName, key.area);
    fill(attest.attested.creation.creationHash, attest::sha256(crypto, {creation_data}));
    return attest;
  }
  TPMS_ATTEST quote() const {
    TPMS_ATTEST attest = begin(TPM2_ST_ATTEST_QUOTE);
    attest.attested.quote.pcrSelect = tpm2::parse_pcrs("sha256:0,7")->selection;
    fill(attest.attested.quote.pcrDigest, tpm2::pcr_digest(crypto, TPM2_ALG_SHA256, pcrs));
    return attest;
  }
  Evidence evidence() const {
    Evidence made;
    made.ak = ak.area;
    made.key = key.area;
    made.certify = sealed(certify());
    made.creation = sealed(creation());
    made.creation_data = creation_data;
    made.quote = sealed(quote());
    made.pcrs = pcrs;
    return made;
  }
  Expectation expectation() const {
    Expectation expected;
    expected.nonce = kNonce;
    expected.ak = ak.area;
    expected.certified = key.pkey.get();
    expected.pcrs = pcrs;
    return expected;
  }
};

using Names = std::vector<std::string>;

Names bad(const attest::Verification& found) {
  Names names;
  for (const attest::Check& check : found.checks) {
    if (!check.good) names.push_back(check.name);
  }
  return names;
}
Names bad(const World& world, const Evidence& evidence) {
  return bad(attest::verify(world.crypto, evidence, world.expectation()));
}

// --- certificates, by a CA of one's own

struct Ca {
  core::EvpPkey key{EVP_EC_gen("P-256")};
  core::Certificate certificate = issue(key.get(), "maker", nullptr, "CA:TRUE", 3600, true);

  core::Certificate issue(EVP_PKEY* subject_key, const char* name, const char* purpose,
                          const char* constraints, long seconds, bool self = false,
                          const std::vector<std::string>& ek_digests = {}) const {
    core::Certificate made(X509_new());
    X509_set_version(made.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), self ? 1 : 7);
    X509_NAME* const subject = X509_get_subject_name(made.get());
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
    X509_set_issuer_name(made.get(), self ? subject : X509_get_subject_name(certificate.get()));
    X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), seconds);
    X509_set_pubkey(made.get(), subject_key);
    add(made.get(), NID_basic_constraints, std::string("critical,") + constraints);
    if (purpose != nullptr) add(made.get(), NID_ext_key_usage, purpose);
    // As an EK has: no subject that matters, and who made the TPM.
    if (purpose != nullptr) add(made.get(), NID_subject_alt_name, "critical,URI:urn:tcg:id:1014");
    for (const std::string& value : ek_digests) add_other(made.get(), attest::kAkEkOid, value);
    REQUIRE(X509_sign(made.get(), key.get(), EVP_sha256()) > 0);
    return made;
  }
  attest::Anchors anchors(const core::Libcrypto& crypto) const {
    return attest::make_anchors(crypto, {attest::certificate_text(der(certificate.get()))}, "ca");
  }
  static Bytes der(X509* certificate) {
    unsigned char* data = nullptr;
    const int size = i2d_X509(certificate, &data);
    REQUIRE(size > 0);
    Bytes bytes(data, data + size);
    OPENSSL_free(data);
    return bytes;
  }

 private:
  static void add_other(X509* certificate, const char* oid, const std::string& value) {
    const std::unique_ptr<ASN1_OBJECT, core::FreeWith<ASN1_OBJECT_free>> object(
        OBJ_txt2obj(oid, 1));
    const std::unique_ptr<ASN1_OCTET_STRING, core::FreeWith<ASN1_OCTET_STRING_free>> bytes(
        ASN1_OCTET_STRING_new());
    ASN1_OCTET_STRING_set(bytes.get(), reinterpret_cast<const unsigned char*>(value.data()),
                          static_cast<int>(value.size()));
    X509_EXTENSION* const extension =
        X509_EXTENSION_create_by_OBJ(nullptr, object.get(), 0, bytes.get());
    REQUIRE(extension != nullptr);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }
  static void add(X509* certificate, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, nullptr, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    REQUIRE(extension != nullptr);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }
};

}  // namespace

TEST_CASE("attest: what nobody forged holds, and comes back from its file") {
  const World world;
  const attest::Verification found =
      attest::verify(world.crypto, world.evidence(), world.expectation());
  CHECK(bad(found) == Names{});
  CHECK(found.good());
  CHECK(found.fault().empty());
  CHECK(found.key_name == world.name(world.key.area));
  const Evidence again = attest::parse_evidence(attest::to_text(world.evidence()), "x");
  CHECK(bad(world, again) == Names{});
  CHECK(again.pcrs == world.pcrs);
}

TEST_CASE("attest: nothing at all is not good") {
  const World world;
  CHECK_FALSE(attest::verify(world.crypto, {}, {}).good());
  CHECK_FALSE(attest::Verification().good());
}

TEST_CASE("attest: each statement is forged in each of its parts") {
  World world;
  Evidence evidence = world.evidence();
  SUBCASE("what somebody had the AK sign, and no TPM said") {
    TPMS_ATTEST attest = world.certify();
    attest.magic = 0x12345678;
    evidence.certify = world.sealed(attest);
    CHECK(bad(world, evidence) == Names{"certify: TPM_GENERATED", "certify: name"});
  }
  SUBCASE("an old nonce") {
    TPMS_ATTEST attest = world.certify();
    attest.extraData.buffer[0] ^= 1;
    evidence.certify = world.sealed(attest);
    CHECK(bad(world, evidence) == Names{"certify: nonce"});
  }
  SUBCASE("a shorter nonce") {
    TPMS_ATTEST attest = world.quote();
    attest.extraData.size -= 1;
    evidence.quote = world.sealed(attest);
    CHECK(bad(world, evidence) == Names{"quote: nonce"});
  }
  SUBCASE("no nonce wanted") {
    Expectation expected = world.expectation();
    expected.nonce.reset();
    CHECK(attest::verify(world.crypto, evidence, expected).good());
  }
  SUBCASE("another key's signature") {
    const SoftwareKey other{kAkAttributes, TPM2_ALG_ECDSA};
    evidence.certify->signature =
        attest::marshal_signature(sign(other.pkey.get(), evidence.certify->attest));
    CHECK(bad(world, evidence) == Names{"certify: signature"});
  }
  SUBCASE("a bit of what was signed") {
    evidence.quote->attest.back() ^= 1;
    CHECK(bad(world, evidence) == Names{"quote: signature", "quote: PCR digest"});
  }
  SUBCASE("a signature by SHA-1") {
    evidence.certify->signature = attest::marshal_signature(
        sign(world.ak.pkey.get(), evidence.certify->attest, TPM2_ALG_SHA1));
    CHECK(bad(world, evidence) == Names{"certify: signature"});
  }
  SUBCASE("no signature") {
    evidence.certify->signature.clear();
    CHECK(bad(world, evidence) == Names{"certify: signature"});
  }
  SUBCASE("a quote in the place of a certification") {
    evidence.certify = evidence.quote;
    CHECK(bad(world, evidence) == Names{"certify: type", "certify: name"});
  }
  SUBCASE("more bytes than a TPMS_ATTEST has") {
    Bytes bytes = marshalled(world.certify());
    bytes.push_back(0);
    evidence.certify =
        Statement{bytes, attest::marshal_signature(sign(world.ak.pkey.get(), bytes))};
    CHECK(bad(world, evidence) == Names{"certify: type", "certify: name"});
  }
  SUBCASE("another key's name") {
    TPMS_ATTEST attest = world.certify();
    world.set_name(attest.attested.certify.name, world.ak.area);
    evidence.certify = world.sealed(attest);
    CHECK(bad(world, evidence) == Names{"certify: name"});
  }
  SUBCASE("another public area") {
    const SoftwareKey other{kStays | TPMA_OBJECT_SIGN_ENCRYPT, TPM2_ALG_NULL};
    evidence.key = other.area;
    CHECK(bad(world, evidence) == Names{"certify: name", "certificate's key", "creation: name"});
  }
  SUBCASE("other creation data") {
    evidence.creation_data.push_back(0);
    CHECK(bad(world, evidence) == Names{"creation: data"});
  }
  SUBCASE("another key's creation") {
    TPMS_ATTEST attest = world.creation();
    world.set_name(attest.attested.creation.objectName, world.ak.area);
    evidence.creation = world.sealed(attest);
    CHECK(bad(world, evidence) == Names{"creation: name"});
  }
  SUBCASE("values that were not quoted") {
    evidence.pcrs[1].value[0] ^= 1;
    CHECK(bad(world, evidence) == Names{"quote: PCR digest", "PCR 7 of bank sha256"});
  }
  SUBCASE("values of other PCRs") {
    evidence.pcrs[1].pcr = 8;
    CHECK(bad(world, evidence) == Names{"quote: PCRs", "PCR 7 of bank sha256"});
  }
  SUBCASE("no quote") {
    evidence.quote.reset();
    CHECK(bad(world, evidence) == Names{"quote"});
  }
  SUBCASE("a quote alone") {
    evidence.key.reset();
    evidence.certify.reset();
    CHECK(bad(world, evidence) == Names{"key"});
    Expectation expected = world.expectation();
    expected.certified = nullptr;
    CHECK(bad(attest::verify(world.crypto, evidence, expected)) == Names{"key"});
    expected.needs_key = false;
    CHECK(attest::verify(world.crypto, evidence, expected).good());
    expected.pcrs.clear();
    evidence.quote.reset();
    CHECK(bad(attest::verify(world.crypto, evidence, expected)) == Names{"quote"});
  }
}

TEST_CASE("attest: a key that can leave is not attested") {
  for (const auto& [attribute, text] :
       {std::pair(TPMA_OBJECT_FIXEDTPM, "fixedTPM"),
        std::pair(TPMA_OBJECT_FIXEDPARENT, "fixedParent"),
        std::pair(TPMA_OBJECT_SENSITIVEDATAORIGIN, "sensitiveDataOrigin")}) {
    World world;
    world.key.area.publicArea.objectAttributes &= ~static_cast<TPMA_OBJECT>(attribute);
    const attest::Verification found =
        attest::verify(world.crypto, world.evidence(), world.expectation());
    CHECK(bad(found) == Names{"key attributes"});
    CHECK(found.fault().find(text) != std::string::npos);
  }
  World world;
  world.key.area.publicArea.nameAlg = TPM2_ALG_SHA1;
  const attest::Verification found =
      attest::verify(world.crypto, world.evidence(), world.expectation());
  CHECK(found.fault() == "key attributes: nameAlg is TPM2_ALG_SHA1, weaker than SHA-256");
}

TEST_CASE("attest: an AK that signs other things is not believed") {
  const auto fault = [](TPMA_OBJECT attributes) {
    World world;
    world.ak.area.publicArea.objectAttributes = attributes;
    return attest::verify(world.crypto, world.evidence(), world.expectation()).fault();
  };
  CHECK(fault(kAkAttributes).empty());
  for (const TPMA_OBJECT attribute : {TPMA_OBJECT_RESTRICTED, TPMA_OBJECT_SIGN_ENCRYPT,
                                      TPMA_OBJECT_FIXEDTPM, TPMA_OBJECT_FIXEDPARENT}) {
    CHECK(fault(kAkAttributes & ~attribute).starts_with("AK attributes: "));
  }
  CHECK(fault(kAkAttributes | TPMA_OBJECT_DECRYPT).starts_with("AK attributes: decrypt"));
}

TEST_CASE("attest: the AK is the one that is trusted, with the attributes that are known of it") {
  World world;
  Evidence evidence = world.evidence();
  SUBCASE("another AK") {
    const SoftwareKey other{kAkAttributes, TPM2_ALG_ECDSA};
    evidence.ak = other.area;
    const attest::Verification found = attest::verify(world.crypto, evidence, world.expectation());
    CHECK(found.fault().find("AK trust: the AK is") == 0);
  }
  SUBCASE("the same key, said to be restricted") {
    Expectation expected = world.expectation();
    expected.ak->publicArea.objectAttributes &= ~static_cast<TPMA_OBJECT>(TPMA_OBJECT_RESTRICTED);
    CHECK(attest::verify(world.crypto, evidence, expected).fault().find("AK trust") == 0);
    evidence.ak.reset();
    CHECK(bad(attest::verify(world.crypto, evidence, expected)) == Names{"AK attributes"});
  }
  SUBCASE("nobody is trusted") {
    Expectation expected = world.expectation();
    expected.ak.reset();
    CHECK(attest::verify(world.crypto, evidence, expected).fault() ==
          std::string("AK trust: ") + attest::kNotBound);
  }
}

TEST_CASE("attest: a certificate of the AK is for this AK, by this CA, and for nothing else") {
  World world;
  const Ca ca;
  const Ca other;
  const attest::Anchors anchors = ca.anchors(world.crypto);
  Evidence evidence = world.evidence();
  Expectation expected = world.expectation();
  expected.ak.reset();
  expected.ak_anchors = &anchors;
  const auto certify = [&](const Ca& by, EVP_PKEY* key, const char* purpose, long seconds = 3600) {
    evidence.ak_certificate = Ca::der(by.issue(key, "ak", purpose, "CA:FALSE", seconds).get());
    return attest::verify(world.crypto, evidence, expected).fault();
  };
  EVP_PKEY* const ak = world.ak.pkey.get();
  CHECK(certify(ca, ak, attest::kAkPurpose).empty());
  CHECK(certify(other, ak, attest::kAkPurpose).find("AK trust: the AK's certificate: X509") == 0);
  CHECK(certify(ca, ak, attest::kAkPurpose, -60).find("expired") != std::string::npos);
  CHECK(certify(ca, ak, "clientAuth").find("no certificate of an attestation key") !=
        std::string::npos);
  CHECK(certify(ca, world.key.pkey.get(), attest::kAkPurpose).find("AK certificate's key") == 0);
  CHECK(certify(ca, ak, attest::kEkPurpose) == std::string("AK trust: ") + attest::kNotBound);
  evidence.ak_certificate.clear();
  CHECK(attest::verify(world.crypto, evidence, expected).fault().find("--ak-cert") !=
        std::string::npos);
  SUBCASE("an EK certificate alone") {
    const core::EvpPkey ek(EVP_EC_gen("P-256"));
    evidence.ek_certificate =
        Ca::der(ca.issue(ek.get(), "ek", attest::kEkPurpose, "CA:FALSE", 3600).get());
    expected.ek_anchors = &anchors;
    const attest::Verification found = attest::verify(world.crypto, evidence, expected);
    CHECK(found.fault() == std::string("AK trust: ") + attest::kNotBound);
  }
  SUBCASE("an EK certificate of another TPM than the AK was accepted in") {
    const core::EvpPkey ek(EVP_EC_gen("P-256"));
    evidence.ek_certificate =
        Ca::der(ca.issue(ek.get(), "ek", attest::kEkPurpose, "CA:FALSE", 3600).get());
    attest::Expectation accepted;
    accepted.nonce = expected.nonce;
    accepted.ak = evidence.ak;
    accepted.ek_certificate = evidence.ek_certificate;
    accepted.ek_anchors = &anchors;
    CHECK(attest::verify(world.crypto, evidence, accepted).fault().empty());
    accepted.ek_certificate.back() ^= 1;
    CHECK(attest::verify(world.crypto, evidence, accepted).fault().find("accepted beside") !=
          std::string::npos);
    accepted.ek_certificate.clear();  // nobody knows
    CHECK(bad(attest::verify(world.crypto, evidence, accepted)) == Names{"EK certificate"});
  }
  SUBCASE("the EK that the AK's certificate says") {
    const core::EvpPkey ek(EVP_EC_gen("P-256"));
    evidence.ek_certificate =
        Ca::der(ca.issue(ek.get(), "ek", attest::kEkPurpose, "CA:FALSE", 3600).get());
    expected.ek_anchors = &anchors;
    expected.wanted_ek = evidence.ek_certificate;
    const auto says = [&](const std::vector<std::string>& values) {
      const core::Certificate made =
          ca.issue(ak, "ak", attest::kAkPurpose, "CA:FALSE", 3600, false, values);
      evidence.ak_certificate = Ca::der(made.get());
      return bad(attest::verify(world.crypto, evidence, expected));
    };
    const Bytes digest = attest::sha256(world.crypto, {evidence.ek_certificate});
    const std::string value = attest::ek_digest_value(digest);
    CHECK(says({value}) == Names{});
    CHECK(says({}) == Names{"EK", "EK certificate"});
    CHECK(says({attest::ek_digest_value(Bytes(32, 1))}) == Names{"EK", "EK certificate"});
    const Names damaged = {"AK certificate's EK", "EK", "EK certificate"};
    CHECK(says({value + '\0'}) == damaged);
    CHECK(says({value, value}) == damaged);
    CHECK(says({attest::ek_digest_value(Bytes(31, 1))}) == damaged);
    CHECK(says({"\x30\x00"}) == damaged);
  }
  SUBCASE("revoked") {
    attest::Anchors strict = ca.anchors(world.crypto);
    strict.revoked = {"07"};
    expected.ak_anchors = &strict;
    CHECK(certify(ca, ak, attest::kAkPurpose).find("it is revoked") != std::string::npos);
  }
  SUBCASE("without the public area the certificate speaks for the AK") {
    evidence.ak.reset();
    CHECK(certify(ca, ak, attest::kAkPurpose).empty());
  }
}

namespace {

// What a TPM does with a credential, by a key of OpenSSL's.
struct SoftwareEk {
  core::Libcrypto& crypto;
  core::EvpPkey pkey{EVP_RSA_gen(2048)};
  TPM2B_PUBLIC area{};

  explicit SoftwareEk(core::Libcrypto& with) : crypto(with) {
    TPMT_PUBLIC& area_of = area.publicArea;
    area_of.type = TPM2_ALG_RSA;
    area_of.nameAlg = TPM2_ALG_SHA256;
    area_of.objectAttributes = kStays | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;
    TPMS_RSA_PARMS& rsa = area_of.parameters.rsaDetail;
    rsa.symmetric.algorithm = TPM2_ALG_AES;
    rsa.symmetric.keyBits.aes = 128;
    rsa.symmetric.mode.aes = TPM2_ALG_CFB;
    rsa.scheme.scheme = TPM2_ALG_NULL;
    rsa.keyBits = 2048;
    BIGNUM* n = nullptr;
    REQUIRE(EVP_PKEY_get_bn_param(pkey.get(), OSSL_PKEY_PARAM_RSA_N, &n) == 1);
    const core::BigNum owner(n);
    area_of.unique.rsa.size = 256;
    BN_bn2binpad(n, area_of.unique.rsa.buffer, 256);
  }

  std::optional<core::Secret> activate(const tpm2::Credential& credential, ByteView name) const {
    const core::EvpPkeyCtx context(EVP_PKEY_CTX_new(pkey.get(), nullptr));
    REQUIRE(EVP_PKEY_decrypt_init(context.get()) == 1);
    EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING);
    EVP_PKEY_CTX_set_rsa_oaep_md(context.get(), EVP_sha256());
    EVP_PKEY_CTX_set0_rsa_oaep_label(context.get(), OPENSSL_strdup("IDENTITY"), 9);
    Bytes seed(256);
    std::size_t size = seed.size();
    REQUIRE(EVP_PKEY_decrypt(context.get(), seed.data(), &size, credential.secret.secret,
                             credential.secret.size) == 1);
    seed.resize(size);
    const tpm2::SessionCrypto hash(crypto);
    REQUIRE(credential.blob.size() > 36);
    const ByteView blob = credential.blob;
    Bytes inner(blob.begin() + 34, blob.end());
    const core::Secret mac_key = hash.kdfa(seed, "INTEGRITY", {}, {}, 32);
    if (!std::ranges::equal(hash.hmac(mac_key.reveal(), {inner, name}), blob.subspan(2, 32)))
      return std::nullopt;
    const core::Secret key = hash.kdfa(seed, "STORAGE", name, {}, 16);
    const std::array<std::uint8_t, 16> iv{};
    hash.cfb(false, key.reveal(), iv, inner);
    return core::Secret(ByteView(inner).subspan(2));
  }
};

}  // namespace

TEST_CASE("attest: an AK is accepted by the answer of its TPM alone") {
  World world;
  const Ca ca;
  const attest::Anchors makers = ca.anchors(world.crypto);
  const SoftwareEk ek(world.crypto);
  const core::Certificate certificate =
      ca.issue(ek.pkey.get(), "ek", attest::kEkPurpose, "CA:FALSE", 3600);
  const attest::Request written{ek.area, Ca::der(certificate.get()), world.ak.area};
  const attest::Request request = attest::parse_request(attest::to_text(written), "request");
  REQUIRE(attest::fault_of(world.crypto, request, makers).empty());
  const attest::Made made = attest::make_challenge(world.crypto, request, 1000);
  const attest::Challenge challenge =
      attest::parse_challenge(attest::to_text(made.challenge), "challenge");
  const Bytes name = world.name(world.ak.area);
  std::optional<core::Secret> secret = ek.activate(challenge.credential, name);
  REQUIRE(secret);
  REQUIRE(secret->size() == 32);
  attest::Pending pending = attest::parse_pending(attest::to_text(made.pending), "state");
  const auto answer = [&] { return attest::Answer{challenge.id, name, secret->clone()}; };
  const auto fault = [&](const attest::Answer& given, std::time_t now = 999) {
    return attest::fault_of(world.crypto, pending, given, now);
  };
  CHECK(fault(answer()).empty());
  CHECK(fault(attest::parse_answer(attest::to_text(answer()), "answer")).empty());
  SUBCASE("the secret is not in what the verifier keeps") {
    const std::string text = attest::to_text(made.pending);
    CHECK(text.find(attest::base64(secret->reveal())) == std::string::npos);
    CHECK(text.find(core::to_hex(secret->reveal())) == std::string::npos);
  }
  SUBCASE("another AK cannot open it") {
    const SoftwareKey other{kAkAttributes, TPM2_ALG_ECDSA};
    CHECK_FALSE(ek.activate(challenge.credential, world.name(other.area)));
  }
  SUBCASE("expired") { CHECK(fault(answer(), 1000) == "the challenge has expired"); }
  SUBCASE("another challenge's") {
    attest::Answer other = answer();
    other.id += "0";
    CHECK(fault(other) == "the answer is to another challenge");
  }
  SUBCASE("the AK is swapped after the challenge") {
    const SoftwareKey other{kAkAttributes, TPM2_ALG_ECDSA};
    attest::Answer swapped = answer();
    swapped.ak_name = world.name(other.area);
    CHECK(fault(swapped).find("the AK was swapped after the challenge") == 0);
    pending.ak = other.area;  // nor by a mix-up of the verifier's files
    CHECK(fault(swapped).find("the secret is wrong") == 0);
  }
  SUBCASE("a wrong secret") {
    attest::Answer wrong = answer();
    wrong.secret.writable()[0] ^= 1;
    CHECK(fault(wrong).find("the secret is wrong") == 0);
    wrong.secret = core::Secret();
    CHECK(fault(wrong).find("the secret is wrong") == 0);
  }
  SUBCASE("the verifier's file was changed") {
    pending.expires += 3600;
    CHECK(fault(answer()).find("the secret is wrong") == 0);
  }
  SUBCASE("another EK in the verifier's file") {
    pending.ek_certificate = Ca::der(ca.certificate.get());
    CHECK(fault(answer()).find("the secret is wrong") == 0);
  }
}

TEST_CASE("attest: no challenge for what is no TPM") {
  World world;
  const Ca ca;
  const Ca other;
  const attest::Anchors makers = ca.anchors(world.crypto);
  const SoftwareEk ek(world.crypto);
  const auto certificate = [&](const Ca& by, EVP_PKEY* key, const char* purpose) {
    return Ca::der(by.issue(key, "ek", purpose, "CA:FALSE", 3600).get());
  };
  attest::Request request{ek.area, certificate(ca, ek.pkey.get(), attest::kEkPurpose),
                          world.ak.area};
  const auto fault = [&] { return attest::fault_of(world.crypto, request, makers); };
  REQUIRE(fault().empty());
  SUBCASE("a maker that nobody knows") {
    request.ek_certificate = certificate(other, ek.pkey.get(), attest::kEkPurpose);
    CHECK(fault().find("the EK certificate: X509_verify_cert") == 0);
  }
  SUBCASE("a certificate for something else") {
    request.ek_certificate = certificate(ca, ek.pkey.get(), "serverAuth");
    CHECK(fault().find("2.23.133.8.1") != std::string::npos);
  }
  SUBCASE("a software EK beside a genuine certificate") {
    const SoftwareEk forged(world.crypto);
    request.ek = forged.area;
    CHECK(fault().find("another key's than the EK") != std::string::npos);
  }
  SUBCASE("an EK that is none") {
    request.ek.publicArea.objectAttributes &= ~static_cast<TPMA_OBJECT>(TPMA_OBJECT_RESTRICTED);
    CHECK(fault().find("the EK is none: restricted") == 0);
  }
  SUBCASE("an AK that signs anything") {
    request.ak.publicArea.objectAttributes &= ~static_cast<TPMA_OBJECT>(TPMA_OBJECT_RESTRICTED);
    CHECK(fault().find("the AK is none: restricted") == 0);
  }
}

TEST_CASE("attest: files that are none are named, with what is wrong in them") {
  const auto message = [](const std::function<void()>& body) -> std::string {
    try {
      body();
    } catch (const core::Error& error) {
      return error.what();
    }
    return "";
  };
  CHECK(message([] { attest::parse_evidence("{", "f"); }).find("file=f: ") == 0);
  CHECK(message([] { attest::parse_evidence("[1]", "f"); }).find("format") != std::string::npos);
  CHECK(message([] {
          attest::parse_evidence(R"({"format":"hwid-attestation","version":2})", "f");
        }).find("version 1") != std::string::npos);
  CHECK(message([] {
          attest::parse_evidence(
              R"({"format":"hwid-attestation","version":1,"key":{"public":"AAA="}})", "f");
        }).find("key/public") != std::string::npos);
  CHECK(message([] { attest::parse_challenge("\xba\xdc\xc0\xde", "f"); }) != "");
  CHECK(message([] {
          attest::parse_trusted("-----BEGIN PUBLIC KEY-----\n", "f");
        }).find("does not say what the AK may sign") != std::string::npos);
}
