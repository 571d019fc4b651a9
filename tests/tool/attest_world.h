// A TPM and certificates of one's own making, to forge what hwid attest and hwid verify-attestation
// check.
#pragma once

#include <doctest/doctest.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <tss2/tss2_mu.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "provider/core/error.h"
#include "provider/tpm2/credential.h"
#include "provider/tpm2/session_crypto.h"
#include "tools/attest/certificates.h"
#include "tools/attest/checks.h"
#include "tools/attest/evidence.h"

namespace hwid::test {

using attest::Evidence;
using attest::Expectation;
using attest::Statement;
using core::Bytes;
using core::ByteView;

inline const Bytes kNonce = {0xde, 0xad, 0xbe, 0xef};
inline constexpr TPMA_OBJECT kStays =
    TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN;
inline constexpr TPMA_OBJECT kAkAttributes =
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
inline TPMT_SIGNATURE sign(EVP_PKEY* key, ByteView data, TPMI_ALG_HASH hash = TPM2_ALG_SHA256) {
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

inline Bytes marshalled(const TPMS_ATTEST& attest) {
  Bytes bytes(sizeof attest);
  std::size_t size = 0;
  REQUIRE(Tss2_MU_TPMS_ATTEST_Marshal(&attest, bytes.data(), bytes.size(), &size) ==
          TSS2_RC_SUCCESS);
  bytes.resize(size);
  return bytes;
}

inline TPMS_ATTEST begin(TPMI_ST_ATTEST type) {
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

inline Names bad(const attest::Verification& found) {
  Names names;
  for (const attest::Check& check : found.checks) {
    if (!check.good) names.push_back(check.name);
  }
  return names;
}
inline Names bad(const World& world, const Evidence& evidence) {
  return bad(attest::verify(world.crypto, evidence, world.expectation()));
}

// --- certificates, by a CA of one's own

struct Ca {
  core::EvpPkey key{EVP_EC_gen("P-256")};
  core::Certificate certificate;

  explicit Ca(const char* name = "maker")
      : certificate(issue(key.get(), name, nullptr, "CA:TRUE", 3600, true)) {}
  // Below another one.
  Ca(const Ca& above, const char* name)
      : certificate(above.issue(key.get(), name, nullptr, "CA:TRUE", 3600)) {}

  core::Certificate issue(EVP_PKEY* subject_key, const char* name, const char* purpose,
                          const char* constraints, long seconds, bool self = false,
                          const std::vector<std::string>& ek_digests = {}) const {
    core::Certificate made(X509_new());
    X509_set_version(made.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), self ? 1 : 7);
    const std::unique_ptr<X509_NAME, core::FreeWith<X509_NAME_free>> subject(X509_NAME_new());
    X509_NAME_add_entry_by_txt(subject.get(), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
    X509_set_subject_name(made.get(), subject.get());
    X509_set_issuer_name(made.get(),
                         self ? subject.get() : X509_get_subject_name(certificate.get()));
    X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), seconds);
    X509_set_pubkey(made.get(), subject_key);
    if (constraints != nullptr)
      add(made.get(), NID_basic_constraints, std::string("critical,") + constraints);
    if (purpose != nullptr) add(made.get(), NID_ext_key_usage, purpose);
    // As an EK has: no subject that matters, and who made the TPM.
    if (purpose != nullptr) add(made.get(), NID_subject_alt_name, "critical,URI:urn:tcg:id:1014");
    for (const std::string& value : ek_digests) add_other(made.get(), attest::kAkEkOid, value);
    REQUIRE(X509_sign(made.get(), key.get(), EVP_sha256()) > 0);
    return made;
  }
  // The same certificate, as it is after `change`, signed anew.
  template <typename Change>
  core::Certificate changed(const core::Certificate& certificate, const Change& change,
                            const EVP_MD* md = EVP_sha256()) const {
    const core::Certificate made(X509_dup(certificate.get()));
    change(made.get());
    REQUIRE(X509_sign(made.get(), key.get(), md) > 0);
    const Bytes bytes = der(made.get());
    const unsigned char* at = bytes.data();
    return core::Certificate(d2i_X509(nullptr, &at, static_cast<long>(bytes.size())));
  }
  std::string pem() const { return attest::certificate_text(der(certificate.get())); }
  attest::Anchors anchors(const core::Libcrypto& crypto) const {
    const attest::AnchorFile file{"ca.pem", pem()};
    return attest::make_anchors(crypto, {&file, 1}, "ca");
  }
  // A CRL with these serial numbers, in PEM.
  // `extensions`: as openssl.cnf writes them, by NID.
  std::string crl(const std::vector<long>& serials, long seconds = 3600,
                  const std::vector<std::pair<int, const char*>>& extensions = {}) const {
    const std::unique_ptr<X509_CRL, core::FreeWith<X509_CRL_free>> made(X509_CRL_new());
    const std::unique_ptr<ASN1_TIME, core::FreeWith<ASN1_TIME_free>> time(ASN1_TIME_new());
    X509_CRL_set_version(made.get(), 1);
    X509_CRL_set_issuer_name(made.get(), X509_get_subject_name(certificate.get()));
    X509_CRL_set1_lastUpdate(made.get(), X509_gmtime_adj(time.get(), -3600));
    for (const long serial : serials) {
      X509_REVOKED* const revoked = X509_REVOKED_new();
      const std::unique_ptr<ASN1_INTEGER, core::FreeWith<ASN1_INTEGER_free>> number(
          ASN1_INTEGER_new());
      ASN1_INTEGER_set(number.get(), serial);
      X509_REVOKED_set_serialNumber(revoked, number.get());
      X509_REVOKED_set_revocationDate(revoked, time.get());
      REQUIRE(X509_CRL_add0_revoked(made.get(), revoked) == 1);
    }
    X509_CRL_set1_nextUpdate(made.get(), X509_gmtime_adj(time.get(), seconds));
    for (const auto& [nid, value] : extensions) {
      const std::unique_ptr<X509_EXTENSION, core::FreeWith<X509_EXTENSION_free>> extension(
          X509V3_EXT_conf_nid(nullptr, nullptr, nid, value));
      REQUIRE(extension);
      REQUIRE(X509_CRL_add_ext(made.get(), extension.get(), -1) == 1);
    }
    REQUIRE(X509_CRL_sign(made.get(), key.get(), EVP_sha256()) > 0);
    const core::Bio out(BIO_new(BIO_s_mem()));
    REQUIRE(PEM_write_bio_X509_CRL(out.get(), made.get()) == 1);
    char* text = nullptr;
    const long size = BIO_get_mem_data(out.get(), &text);
    return {text, static_cast<std::size_t>(size)};
  }
  static Bytes der(X509* certificate) {
    unsigned char* data = nullptr;
    const int size = i2d_X509(certificate, &data);
    REQUIRE(size > 0);
    Bytes bytes(data, data + size);
    OPENSSL_free(data);
    return bytes;
  }

  static void add_other(X509* certificate, const char* oid, const std::string& value,
                        bool is_critical = false) {
    const std::unique_ptr<ASN1_OBJECT, core::FreeWith<ASN1_OBJECT_free>> object(
        OBJ_txt2obj(oid, 1));
    const std::unique_ptr<ASN1_OCTET_STRING, core::FreeWith<ASN1_OCTET_STRING_free>> bytes(
        ASN1_OCTET_STRING_new());
    ASN1_OCTET_STRING_set(bytes.get(), reinterpret_cast<const unsigned char*>(value.data()),
                          static_cast<int>(value.size()));
    X509_EXTENSION* const extension =
        X509_EXTENSION_create_by_OBJ(nullptr, object.get(), is_critical ? 1 : 0, bytes.get());
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

// What a TPM does with a credential, by a key of OpenSSL's.
struct SoftwareEk {
  core::Libcrypto& crypto;
  core::EvpPkey pkey;
  TPM2B_PUBLIC area{};

  explicit SoftwareEk(core::Libcrypto& with, std::uint16_t bits = 2048)
      : crypto(with), pkey(EVP_RSA_gen(bits)) {
    TPMT_PUBLIC& area_of = area.publicArea;
    area_of.type = TPM2_ALG_RSA;
    area_of.nameAlg = TPM2_ALG_SHA256;
    area_of.objectAttributes = kStays | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;
    TPMS_RSA_PARMS& rsa = area_of.parameters.rsaDetail;
    rsa.symmetric.algorithm = TPM2_ALG_AES;
    rsa.symmetric.keyBits.aes = 128;
    rsa.symmetric.mode.aes = TPM2_ALG_CFB;
    rsa.scheme.scheme = TPM2_ALG_NULL;
    rsa.keyBits = bits;
    BIGNUM* n = nullptr;
    REQUIRE(EVP_PKEY_get_bn_param(pkey.get(), OSSL_PKEY_PARAM_RSA_N, &n) == 1);
    const core::BigNum owner(n);
    area_of.unique.rsa.size = bits / 8;
    BN_bn2binpad(n, area_of.unique.rsa.buffer, bits / 8);
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

}  // namespace hwid::test
