// Certificates of attestation keys and endorsement keys.
#include <doctest/doctest.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include <functional>

#include "provider/core/public_key.h"
#include "tests/tool/attest_world.h"
#include "tools/attest/challenge.h"

namespace {

using namespace hwid;
using namespace hwid::test;

std::string message(const std::function<void()>& body) {
  try {
    body();
  } catch (const core::Error& error) {
    return error.what();
  }
  return "";
}

// An EK's certificate whose algorithm says that the key is for RSAES-OAEP alone.
core::Certificate oaep_certificate(const Ca& ca, EVP_PKEY* key) {
  core::Certificate made = ca.issue(key, "ek", attest::kEkPurpose, "CA:FALSE", 3600);
  auto* const spki = const_cast<X509_PUBKEY*>(X509_get_X509_PUBKEY(made.get()));
  const unsigned char* bits = nullptr;
  int size = 0;
  REQUIRE(X509_PUBKEY_get0_param(nullptr, &bits, &size, nullptr, spki) == 1);
  auto* const copy =
      static_cast<unsigned char*>(OPENSSL_memdup(bits, static_cast<std::size_t>(size)));
  ASN1_STRING* const parameters = ASN1_STRING_new();
  ASN1_STRING_set(parameters, "\x30\x00", 2);  // SHA-1, by default
  REQUIRE(X509_PUBKEY_set0_param(spki, OBJ_nid2obj(NID_rsaesOaep), V_ASN1_SEQUENCE, parameters,
                                 copy, size) == 1);
  REQUIRE(X509_sign(made.get(), ca.key.get(), EVP_sha256()) > 0);
  return made;
}

// The public key of that modulus, and of 65537, for RSA-PSS alone.
core::EvpPkey pss_key(const BIGNUM* n) {
  const std::unique_ptr<OSSL_PARAM_BLD, core::FreeWith<OSSL_PARAM_BLD_free>> builder(
      OSSL_PARAM_BLD_new());
  REQUIRE(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n) == 1);
  REQUIRE(OSSL_PARAM_BLD_push_ulong(builder.get(), OSSL_PKEY_PARAM_RSA_E, RSA_F4) == 1);
  const std::unique_ptr<OSSL_PARAM, core::FreeWith<OSSL_PARAM_free>> parameters(
      OSSL_PARAM_BLD_to_param(builder.get()));
  const core::EvpPkeyCtx context(EVP_PKEY_CTX_new_from_name(nullptr, "RSA-PSS", nullptr));
  EVP_PKEY* made = nullptr;
  REQUIRE(EVP_PKEY_fromdata_init(context.get()) == 1);
  REQUIRE(EVP_PKEY_fromdata(context.get(), &made, EVP_PKEY_PUBLIC_KEY, parameters.get()) == 1);
  return core::EvpPkey(made);
}

}  // namespace

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
    // Only the one that the AK was accepted beside is asked for its maker, wherever it stands.
    const Bytes own = evidence.ek_certificate;
    const Bytes others =
        Ca::der(other.issue(ek.get(), "ek", attest::kEkPurpose, "CA:FALSE", 3600).get());
    evidence.ek_certificate = others;
    CHECK(attest::verify(world.crypto, evidence, accepted).fault().empty());
    evidence.ek_certificate.clear();
    CHECK(attest::verify(world.crypto, evidence, accepted).fault().empty());
    evidence.ek_certificate = own;
    accepted.ek_certificate = others;
    CHECK(attest::verify(world.crypto, evidence, accepted).fault().find("X509_verify_cert") !=
          std::string::npos);
    accepted.ek_certificate.clear();  // nobody knows
    CHECK(bad(attest::verify(world.crypto, evidence, accepted)) == Names{"EK certificate"});
  }
  SUBCASE("the EK that the AK's certificate says") {
    const core::EvpPkey ek(EVP_EC_gen("P-256"));
    evidence.ek_certificate =
        Ca::der(ca.issue(ek.get(), "ek", attest::kEkPurpose, "CA:FALSE", 3600).get());
    expected.ek_anchors = &anchors;
    const Bytes genuine = expected.wanted_ek = evidence.ek_certificate;
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
    evidence.ek_certificate.clear();  // --ek-cert has it
    CHECK(says({value}) == Names{});
    expected.wanted_ek.clear();
    CHECK(says({value}) == Names{"EK certificate"});
    CHECK(attest::verify(world.crypto, evidence, expected).fault().find("the evidence has none") !=
          std::string::npos);
    evidence.ek_certificate = Ca::der(other.certificate.get());
    CHECK(attest::verify(world.crypto, evidence, expected).fault().find("accepted beside") !=
          std::string::npos);
    evidence.ek_certificate = expected.wanted_ek = genuine;
    const Names damaged = {"AK certificate's EK", "EK", "EK certificate"};
    CHECK(says({value + '\0'}) == damaged);
    CHECK(says({value, value}) == damaged);
    CHECK(says({attest::ek_digest_value(Bytes(31, 1))}) == damaged);
    CHECK(says({std::string("\x30\0", 2)}) == damaged);
  }
  SUBCASE("revoked") {
    attest::Anchors strict = ca.anchors(world.crypto);
    strict.index_issuer.reset(X509_dup(ca.certificate.get()));
    strict.revoked = {"07"};
    expected.ak_anchors = &strict;
    CHECK(certify(ca, ak, attest::kAkPurpose).find("it is revoked") != std::string::npos);
  }
  SUBCASE("without the public area the certificate speaks for the AK") {
    evidence.ak.reset();
    CHECK(certify(ca, ak, attest::kAkPurpose).empty());
    // Of a kind that no TPM has, too weak, or not the kind that signed.
    const core::EvpPkey odd(EVP_PKEY_Q_keygen(nullptr, nullptr, "SM2"));
    CHECK(certify(ca, odd.get(), attest::kAkPurpose).find("AK certificate's key: ") == 0);
    const core::EvpPkey edwards(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
    CHECK_FALSE(certify(ca, edwards.get(), attest::kAkPurpose).empty());
    const core::EvpPkey weak(EVP_RSA_gen(1024));
    CHECK(certify(ca, weak.get(), attest::kAkPurpose).find("too weak") != std::string::npos);
    const core::EvpPkey rsa(EVP_RSA_gen(2048));
    CHECK(certify(ca, rsa.get(), attest::kAkPurpose) ==
          "certify: signature: it is one by TPM2_ALG_ECDSA, of another kind or size than the AK "
          "makes");
  }
}

TEST_CASE("attest: CRLs of several makers count for their own, and for their CAs") {
  const core::Libcrypto crypto;
  const Ca root("root");
  const Ca issuing(root, "issuing");  // serial number 7, as all that a Ca issues
  const Ca other("other maker");
  const core::EvpPkey key(EVP_EC_gen("P-256"));
  const auto ek = [&](const Ca& by) {
    return by.issue(key.get(), "ek", attest::kEkPurpose, "CA:FALSE", 3600);
  };
  const core::Certificate own = ek(issuing);
  const core::Certificate others = ek(other);
  std::vector<attest::AnchorFile> files = {
      {"root.pem", root.pem()}, {"issuing.pem", issuing.pem()}, {"other.pem", other.pem()}};
  const auto fault = [&](X509* certificate) {
    const attest::Anchors anchors = attest::make_anchors(crypto, files, "makers");
    return attest::fault_of(crypto, certificate, anchors, attest::kEkPurpose, "an EK");
  };
  REQUIRE(fault(own.get()).empty());
  REQUIRE(fault(others.get()).empty());
  SUBCASE("of one maker") {
    files.push_back({"other.crl", other.crl({})});
    CHECK(fault(own.get()).empty());
    CHECK(fault(others.get()).empty());
  }
  SUBCASE("of all, in one file") {
    files.push_back(
        {"all.crl", "text before\n" + root.crl({}) + issuing.crl({1, 7}) + other.crl({8})});
    CHECK(fault(own.get()).find("certificate revoked, by makers") != std::string::npos);
    CHECK(fault(others.get()).empty());
  }
  SUBCASE("an intermediate CA is revoked") {
    files.push_back({"root.crl", root.crl({7})});
    CHECK(fault(own.get()).find("certificate revoked (of a CA above it), by makers") !=
          std::string::npos);
    CHECK(fault(others.get()).empty());
  }
  SUBCASE("an old one") {
    files.push_back({"root.crl", root.crl({}, -60)});
    CHECK(fault(own.get()).find(
              "CRL has expired (of a CA above it), by makers; get a new CRL of CN=root, or take "
              "it away") != std::string::npos);
  }
  SUBCASE("one that somebody else signed in the CA's name") {
    const Ca false_issuer("issuing");
    files.push_back({"issuing.crl", false_issuer.crl({})});
    CHECK(fault(own.get()).find("; get a new CRL of CN=issuing, or take it away") !=
          std::string::npos);
  }
}

TEST_CASE("attest: whom a CA's index calls revoked may be a CA as well, but is of that CA") {
  const core::Libcrypto crypto;
  const Ca root("root");
  const Ca issuing(root, "issuing");  // serial number 7
  const core::EvpPkey key(EVP_EC_gen("P-256"));
  const auto numbered = [&](const Ca& ca, long serial) {
    return ca.changed(ca.issue(key.get(), "ek", attest::kEkPurpose, "CA:FALSE", 3600),
                      [&](X509* made) { ASN1_INTEGER_set(X509_get_serialNumber(made), serial); });
  };
  const core::Certificate ek = numbered(issuing, 9);
  const attest::AnchorFile above{"root.pem", root.pem()};
  const attest::AnchorFile below{"issuing.pem", issuing.pem()};
  // `revoked`: in the index of `by`.
  const auto fault = [&](const std::vector<attest::AnchorFile>& files, const X509* by,
                         const char* revoked) {
    attest::Anchors anchors = attest::make_anchors(crypto, files, "makers");
    anchors.index_issuer.reset(X509_dup(by));
    anchors.revoked = {revoked};
    return attest::fault_of(crypto, ek.get(), anchors, attest::kEkPurpose, "an EK");
  };
  const X509* const of_root = root.certificate.get();
  const X509* const of_issuing = issuing.certificate.get();
  CHECK(fault({above, below}, of_issuing, "08").empty());
  CHECK(fault({above, below}, of_issuing, "09") == "it is revoked, by makers");
  CHECK(fault({above, below}, of_root, "07") == "a CA above it is revoked, by makers");
  CHECK(fault({above, below}, of_root, "01").empty());  // the anchor's own
  CHECK(fault({below}, of_root, "07").empty());         // which this one is here
  CHECK(fault({{"ek.pem", attest::certificate_text(Ca::der(ek.get()))}}, of_issuing, "09") ==
        "it is revoked, by makers");
  SUBCASE("the same serial number by another issuer is another certificate") {
    CHECK(fault({above, below}, of_root, "09").empty());
    CHECK(fault({above, below}, of_issuing, "07").empty());
  }
  SUBCASE("a CA with a new key is the same one") {
    const Ca rolled("issuing");
    CHECK(fault({above, below}, rolled.certificate.get(), "09") == "it is revoked, by makers");
  }
  SUBCASE("a CA with a renewed certificate is the same one") {
    const core::Certificate renewed = root.changed(
        issuing.certificate, [](X509* made) { ASN1_INTEGER_set(X509_get_serialNumber(made), 8); });
    CHECK(fault({above, below}, renewed.get(), "09") == "it is revoked, by makers");
  }
}

TEST_CASE("attest: a CRL for some certificates, or in part, clears no others") {
  const core::Libcrypto crypto;
  const Ca root("root");
  const Ca issuing(root, "issuing");
  const core::EvpPkey key(EVP_EC_gen("P-256"));
  const core::Certificate ek = issuing.issue(key.get(), "ek", attest::kEkPurpose, "CA:FALSE", 3600);
  const auto fault = [&](const std::string& crls) {
    const std::vector<attest::AnchorFile> files = {
        {"root.pem", root.pem()}, {"issuing.pem", issuing.pem()}, {"this.crl", crls}};
    const attest::Anchors anchors = attest::make_anchors(crypto, files, "makers");
    return attest::fault_of(crypto, ek.get(), anchors, attest::kEkPurpose, "an EK");
  };
  const auto crl = [](const Ca& ca, const char* scope, const std::vector<long>& serials = {}) {
    return ca.crl(serials, 3600, {{NID_issuing_distribution_point, scope}});
  };
  constexpr char kUsers[] = "critical,onlyuser:TRUE";
  constexpr char kCas[] = "critical,onlyCA:TRUE";
  SUBCASE("for the right kind it counts") {
    CHECK(fault(crl(issuing, kUsers) + crl(root, kCas)).empty());
    CHECK(fault(crl(issuing, kUsers, {7})).find("certificate revoked, by") != std::string::npos);
    CHECK(fault(crl(root, kCas, {7})).find("certificate revoked (of a CA") != std::string::npos);
    CHECK(fault(crl(issuing, kCas, {7}) + crl(issuing, kUsers)).empty());
    CHECK(fault(crl(issuing, kCas) + crl(issuing, kUsers, {7})).find("revoked") !=
          std::string::npos);
  }
  SUBCASE("for the wrong kind, or another distribution point") {
    constexpr char kWhy[] = "CRL scope: its issuer's CRL is for other certificates (";
    CHECK(fault(crl(issuing, kCas)).find(kWhy) != std::string::npos);
    CHECK(fault(crl(root, kUsers)).find(kWhy) != std::string::npos);
    CHECK(
        fault(crl(root, kUsers)).find("(of a CA above it), by makers; get a new CRL of CN=root") !=
        std::string::npos);
    CHECK(fault(crl(issuing, "critical,onlyAA:TRUE")).find(kWhy) != std::string::npos);
    CHECK_FALSE(fault(crl(issuing, "onlyuser:TRUE,onlyCA:TRUE")).empty());
  }
  SUBCASE("what is not gone by is an error, beside a complete one as well") {
    const auto refused = [&](const std::string& given) {
      return message([&] { fault(given + issuing.crl({})); });
    };
    constexpr char kBegin[] = "file=this.crl: the CRL of CN=issuing in it is a";
    for (const char* const scope : {"critical,indirectCRL:TRUE", "indirectCRL:TRUE,onlyuser:TRUE",
                                    "critical,onlysomereasons:keyCompromise"})
      CHECK_MESSAGE(refused(crl(issuing, scope)).find(kBegin) == 0, scope);
    const std::string indirect = refused(crl(issuing, "critical,indirectCRL:TRUE"));
    CHECK(indirect.find("indirect CRL") != std::string::npos);
    CHECK(indirect.find("give the issuer's complete CRL; get it anew, or take it away") !=
          std::string::npos);
    CHECK(refused(issuing.crl({}, 3600, {{NID_delta_crl, "critical,DER:02:01:01"}}))
              .find("delta CRL") != std::string::npos);
    CHECK(refused(issuing.crl({}, 3600,
                              {{NID_issuing_distribution_point, kUsers},
                               {NID_issuing_distribution_point, kCas}}))
              .find("there twice") != std::string::npos);
    // Of an issuer that nobody knows here, too: it may be about those who are.
    const Ca other("other");
    CHECK(refused(crl(other, "indirectCRL:TRUE")).find("the CRL of CN=other") != std::string::npos);
  }
}

TEST_CASE("attest: what is critical in a certificate, and not understood, is refused") {
  const core::Libcrypto crypto;
  const Ca root("root");
  Ca issuing(root, "issuing");
  const core::EvpPkey key(EVP_EC_gen("P-256"));
  const core::Certificate plain = issuing.issue(key.get(), "ek", attest::kEkPurpose, "CA:FALSE", 9);
  const auto with = [](const std::vector<const char*>& oids) {
    return [=](X509* certificate) {
      for (const char* const oid : oids) Ca::add_other(certificate, oid, {"\x30\x00", 2}, true);
    };
  };
  const auto fault = [&](X509* certificate) {
    const std::vector<attest::AnchorFile> files = {{"root.pem", root.pem()},
                                                   {"issuing.pem", issuing.pem()}};
    const attest::Anchors anchors = attest::make_anchors(crypto, files, "makers");
    return attest::fault_of(crypto, certificate, anchors, attest::kEkPurpose, "an EK");
  };
  const auto fault_with = [&](const std::vector<const char*>& oids) {
    return fault(issuing.changed(plain, with(oids)).get());
  };
  constexpr char kDirectory[] = "2.5.29.9";  // what EKs have: the TPM's specification
  constexpr char kUnknown[] = "1.3.6.1.4.1.99999.1";
  CHECK(fault_with({}).empty());
  CHECK(fault_with({kDirectory}).empty());
  CHECK(fault_with({kUnknown}).find("unhandled critical extension, by") != std::string::npos);
  CHECK_FALSE(fault_with({kDirectory, kUnknown}).empty());
  CHECK_FALSE(fault_with({kUnknown, kDirectory}).empty());
  const core::Certificate before(X509_dup(issuing.certificate.get()));
  for (const char* const oid : {kDirectory, kUnknown}) {
    issuing.certificate = root.changed(before, with({oid}));
    CHECK(fault(plain.get()).find("unhandled critical extension (of a CA above it)") !=
          std::string::npos);
  }
}

TEST_CASE("attest: no certificate is signed by SHA-1") {
  const core::Libcrypto crypto;
  const Ca root("root");
  Ca issuing(root, "issuing");
  const core::EvpPkey key(EVP_EC_gen("P-256"));
  const auto nothing = [](X509*) {};
  const auto fault = [&](const char* purpose, const EVP_MD* md) {
    const std::vector<attest::AnchorFile> files = {{"root.pem", root.pem()},
                                                   {"issuing.pem", issuing.pem()}};
    const attest::Anchors anchors = attest::make_anchors(crypto, files, "makers");
    const core::Certificate made =
        issuing.changed(issuing.issue(key.get(), "key", purpose, "CA:FALSE", 3600), nothing, md);
    return attest::fault_of(crypto, made.get(), anchors, purpose, "such a key");
  };
  for (const char* const purpose : {attest::kEkPurpose, attest::kAkPurpose}) {
    CHECK(fault(purpose, EVP_sha256()).empty());
    CHECK(fault(purpose, EVP_sha1()).find("algorithm too weak, by") != std::string::npos);
  }
  issuing.certificate = root.changed(issuing.certificate, nothing, EVP_sha1());
  CHECK(fault(attest::kEkPurpose, EVP_sha256()).find("too weak (of a CA above it)") !=
        std::string::npos);
}

TEST_CASE("attest: the certificate of an AK or EK is no CA's, and an AK's is for signatures") {
  const core::Libcrypto crypto;
  const Ca ca;
  const attest::Anchors anchors = ca.anchors(crypto);
  const core::EvpPkey key(EVP_EC_gen("P-256"));
  const auto fault = [&](const char* purpose, const char* constraints, const char* usage) {
    const core::Certificate made =
        ca.changed(ca.issue(key.get(), "key", purpose, constraints, 3600),
                   [&](X509* certificate) { Ca::add(certificate, NID_key_usage, usage); });
    return attest::fault_of(crypto, made.get(), anchors, purpose, "such a key");
  };
  for (const char* const purpose : {attest::kEkPurpose, attest::kAkPurpose}) {
    constexpr char kBoth[] = "critical,digitalSignature,keyCertSign";
    CHECK(fault(purpose, "CA:TRUE", kBoth) == "it is a CA's own certificate");
    CHECK(fault(purpose, nullptr, kBoth) == "it is a CA's own certificate");
    CHECK(fault(purpose, "CA:FALSE", "critical,digitalSignature").empty());
    CHECK(fault(purpose, nullptr, "digitalSignature").empty());
  }
  CHECK(fault(attest::kEkPurpose, "CA:FALSE", "critical,keyEncipherment").empty());
  CHECK(fault(attest::kAkPurpose, "CA:FALSE", "critical,keyEncipherment") ==
        "its key usage has no digitalSignature: it is for no key that attests");
}

TEST_CASE("attest: a damaged file of certificates or CRLs is an error that names it") {
  const core::Libcrypto crypto;
  const Ca ca;
  const auto with = [&](const std::string& content) {
    const std::vector<attest::AnchorFile> files = {{"ca.pem", ca.pem()}, {"this.pem", content}};
    return message([&] { attest::make_anchors(crypto, files, "makers"); });
  };
  const std::string crl = ca.crl({7});
  CHECK(with(crl).empty());
  CHECK(with("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n")
            .empty());
  for (const std::string& damaged :
       {crl.substr(0, crl.size() / 2), crl + crl.substr(0, 100), std::string(),
        std::string("nothing"),
        std::string("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"),
        std::string("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"),
        std::string("-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: "
                    "AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nMAA=\n"
                    "-----END CERTIFICATE-----\n")})
    CHECK_MESSAGE(with(damaged).find("file=this.pem: ") == 0, with(damaged));
  // What no reader of PEM takes for a block.
  const std::string indented = "  " + crl;
  std::string returns = crl;
  std::ranges::replace(returns, '\n', '\r');
  for (const std::string& unread :
       {indented, ca.pem() + indented, crl + indented, returns, ca.pem() + returns, "text " + crl})
    CHECK_MESSAGE(with(unread).find("does not begin its line") != std::string::npos, with(unread));
  std::string windows;
  for (const char each : crl) windows += each == '\n' ? "\r\n" : std::string(1, each);
  CHECK(with("-----BEGIN of a text\n" + crl).find("does not begin") != std::string::npos);
  CHECK(with(ca.pem() + windows).empty());
  // In DER, with more behind it.
  const Bytes der = Ca::der(ca.certificate.get());
  const std::string text(der.begin(), der.end());
  CHECK(with(text).empty());
  CHECK(with(text + "x").find("file=this.pem: ") == 0);
}

TEST_CASE("attest: a key of another type than the certificate's is said to be that") {
  core::Libcrypto crypto;
  const Ca ca;
  const World world;
  const SoftwareEk ek(crypto);
  ERR_clear_error();
  // The same numbers, for RSA-PSS alone.
  BIGNUM* n = nullptr;
  REQUIRE(EVP_PKEY_get_bn_param(ek.pkey.get(), OSSL_PKEY_PARAM_RSA_N, &n) == 1);
  const core::BigNum owner(n);
  const core::EvpPkey pss = pss_key(n);
  const Bytes der = Ca::der(ca.issue(pss.get(), "ek", attest::kEkPurpose, "CA:FALSE", 3600).get());
  const attest::Request request{ek.area, der, world.ak.area};
  const std::string fault = attest::fault_of(crypto, request, ca.anchors(crypto));
  CHECK(fault.find("another key's") != std::string::npos);
  CHECK(fault.find("their types differ, RSA-PSS, and RSA is wanted") != std::string::npos);
  CHECK(attest::key_difference(pss.get(), ek.pkey.get()) ==
        "their types differ, RSA-PSS, and RSA is wanted");
  CHECK(attest::key_difference(ek.pkey.get(), ek.pkey.get()).empty());
  CHECK(attest::key_difference(SoftwareEk(crypto).pkey.get(), ek.pkey.get()) ==
        "their values differ");
  const core::EvpPkey p256(EVP_EC_gen("P-256"));
  const core::EvpPkey p384(EVP_EC_gen("P-384"));
  CHECK(attest::key_difference(p384.get(), p256.get()) == "their values differ");
  Expectation expected = world.expectation();
  expected.certified = pss.get();
  const attest::Verification found = attest::verify(world.crypto, world.evidence(), expected);
  CHECK(bad(found) == Names{"certificate's key"});
  CHECK(found.fault().find("their types differ, RSA-PSS, and EC is wanted") != std::string::npos);
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("attest: an EK certificate for RSAES-OAEP is one like others") {
  core::Libcrypto crypto;
  const Ca ca;
  const World world;
  const SoftwareEk ek(crypto);
  const core::Certificate certificate = oaep_certificate(ca, ek.pkey.get());
  const Bytes der = Ca::der(certificate.get());
  const unsigned char* at = der.data();
  const core::Certificate plain(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  REQUIRE(plain);
  REQUIRE(X509_get0_pubkey(plain.get()) == nullptr);  // OpenSSL does not read it
  attest::Request request{ek.area, der, world.ak.area};
  CHECK(attest::fault_of(crypto, request, ca.anchors(crypto)).empty());
  CHECK(EVP_PKEY_eq(core::PublicKey::from_certificate(crypto, der).pkey(), ek.pkey.get()) == 1);
  const SoftwareEk other(crypto);
  request.ek = other.area;
  CHECK(attest::fault_of(crypto, request, ca.anchors(crypto)).find("another key's") !=
        std::string::npos);
  // What was signed is what came.
  request = {ek.area, der, world.ak.area};
  request.ek_certificate[der.size() / 2] ^= 1;
  CHECK_FALSE(attest::fault_of(crypto, request, ca.anchors(crypto)).empty());
}
