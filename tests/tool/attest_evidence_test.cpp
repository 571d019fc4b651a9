// Evidence: each check is forged once, by keys that are in no TPM.
#include <doctest/doctest.h>

#include "tests/tool/attest_world.h"

namespace {

using namespace hwid;
using namespace hwid::test;

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
  SUBCASE("a plain signature, as others write it") {
    const auto plain = [&](EVP_PKEY* key, const EVP_MD* md) {
      const core::EvpMdCtx context(EVP_MD_CTX_new());
      Bytes der(128);
      std::size_t size = der.size();
      const Bytes& data = evidence.certify->attest;
      REQUIRE(EVP_DigestSignInit(context.get(), nullptr, md, nullptr, key) == 1);
      REQUIRE(EVP_DigestSign(context.get(), der.data(), &size, data.data(), data.size()) == 1);
      der.resize(size);
      return der;
    };
    evidence.certify->signature = plain(world.ak.pkey.get(), EVP_sha256());
    CHECK(bad(world, evidence) == Names{});
    evidence.certify->signature = plain(world.ak.pkey.get(), EVP_sha384());  // not the AK's scheme
    CHECK(bad(world, evidence) == Names{"certify: signature"});
    evidence.certify->signature = plain(world.key.pkey.get(), EVP_sha256());
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
  for (const TPMA_OBJECT attribute :
       {TPMA_OBJECT_RESTRICTED, TPMA_OBJECT_SIGN_ENCRYPT, TPMA_OBJECT_FIXEDTPM,
        TPMA_OBJECT_FIXEDPARENT, TPMA_OBJECT_SENSITIVEDATAORIGIN}) {
    CHECK(fault(kAkAttributes & ~attribute).starts_with("AK attributes: "));
  }
  CHECK(fault(kAkAttributes | TPMA_OBJECT_DECRYPT).starts_with("AK attributes: decrypt"));
}

TEST_CASE("attest: an AK that is weak is not believed") {
  World world;
  world.ak.area.publicArea.parameters.eccDetail.scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA1;
  CHECK(attest::verify(world.crypto, world.evidence(), world.expectation()).fault() ==
        "AK attributes: it signs by TPM2_ALG_SHA1, weaker than SHA-256");
  World named;
  named.ak.area.publicArea.nameAlg = TPM2_ALG_SHA1;
  CHECK(attest::verify(named.crypto, named.evidence(), named.expectation()).fault() ==
        "AK attributes: nameAlg is TPM2_ALG_SHA1, weaker than SHA-256");
  CHECK(attest::weakness_of(core::EvpPkey(EVP_RSA_gen(2048)).get()).empty());
  CHECK(attest::weakness_of(core::EvpPkey(EVP_RSA_gen(1024)).get()).find("80 bits") !=
        std::string::npos);
}

// A TPM makes such a key, and one that can be computed need not leave it.
TEST_CASE("attest: a key that is weak is not attested") {
  for (const std::uint16_t bits : {1024, 2048}) {
    World world;
    SoftwareEk rsa(world.crypto, bits);
    world.key.pkey = std::move(rsa.pkey);
    world.key.area = rsa.area;
    world.key.area.publicArea.objectAttributes = kStays | TPMA_OBJECT_SIGN_ENCRYPT;
    world.key.area.publicArea.parameters.rsaDetail.symmetric.algorithm = TPM2_ALG_NULL;
    const attest::Verification found =
        attest::verify(world.crypto, world.evidence(), world.expectation());
    CHECK(bad(found) == (bits < 2048 ? Names{"key strength"} : Names{}));
    CHECK(found.fault() == (bits < 2048 ? "key strength: it has 80 bits of security, and 112 are "
                                          "wanted (RSA of 2048 bits)"
                                        : ""));
  }
}

TEST_CASE("attest: a signature of another kind or size than the AK's is said to be that") {
  const World world;
  Evidence evidence = world.evidence();
  TPMT_SIGNATURE signature = sign(world.ak.pkey.get(), evidence.certify->attest);
  const auto fault = [&] {
    evidence.certify->signature = attest::marshal_signature(signature);
    return attest::verify(world.crypto, evidence, world.expectation()).fault();
  };
  signature.signature.ecdsa.signatureR.size = 48;
  std::ranges::fill(signature.signature.ecdsa.signatureR.buffer, std::uint8_t{1});
  CHECK(fault() ==
        "certify: signature: it is one by TPM2_ALG_ECDSA, of another kind or size than the AK "
        "makes");
  signature.sigAlg = TPM2_ALG_RSASSA;
  signature.signature.rsassa.hash = TPM2_ALG_SHA256;
  signature.signature.rsassa.sig.size = 256;
  CHECK(fault() == "certify: signature: it is by another scheme than the AK's");
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

// Its own is signed by nobody who saw the AK. A TPM has an EK of each kind, so another kind says
// nothing; another key of that kind is another TPM's.
TEST_CASE("attest: the evidence's EK certificate is none of another TPM") {
  const World world;
  const Ca ca;
  const attest::Anchors makers = ca.anchors(world.crypto);
  const auto certified = [&](EVP_PKEY* key) {
    return Ca::der(ca.issue(key, "ek", attest::kEkPurpose, "CA:FALSE", 3600).get());
  };
  const core::EvpPkey ecc(EVP_EC_gen("P-256"));
  const core::EvpPkey rsa(EVP_RSA_gen(2048));
  for (EVP_PKEY* const accepted : {ecc.get(), rsa.get()}) {
    Evidence evidence = world.evidence();
    Expectation expected = world.expectation();
    expected.ek_certificate = certified(accepted);
    expected.ek_anchors = &makers;
    const auto with = [&](EVP_PKEY* key) {
      evidence.ek_certificate = certified(key);
      return attest::verify(world.crypto, evidence, expected);
    };
    const auto others = {core::EvpPkey(EVP_EC_gen("P-256")), core::EvpPkey(EVP_RSA_gen(2048))};
    for (const core::EvpPkey& other : others) {
      const bool is_kind = EVP_PKEY_is_a(other.get(), EVP_PKEY_get0_type_name(accepted)) == 1;
      expected.wanted_ek.clear();
      CHECK(bad(with(other.get())) == (is_kind ? Names{"EK certificate"} : Names{}));
      expected.wanted_ek = expected.ek_certificate;
      CHECK(bad(with(other.get())) == (is_kind ? Names{"EK", "EK certificate"} : Names{}));
      CHECK((with(other.get()).fault().find("not the one that the AK was accepted beside") !=
             std::string::npos) == is_kind);
    }
    for (const core::EvpPkey& sized :
         {core::EvpPkey(EVP_EC_gen("P-384")), core::EvpPkey(EVP_RSA_gen(3072))})
      CHECK(bad(with(sized.get())) == Names{});
    CHECK(bad(with(accepted)) == Names{});
    // Nobody asks which TPM it is.
    expected.wanted_ek.clear();
    expected.ek_anchors = nullptr;
    for (const core::EvpPkey& other : others) CHECK(bad(with(other.get())) == Names{});
  }
}
