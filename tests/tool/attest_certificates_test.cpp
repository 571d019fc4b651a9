// Certificates of attestation keys and endorsement keys.
#include <doctest/doctest.h>

#include "tests/tool/attest_world.h"

namespace {

using namespace hwid;
using namespace hwid::test;

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
