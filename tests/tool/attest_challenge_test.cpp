// hwid attest: who gets a challenge, and whose answer is accepted; and the files of both.
#include <doctest/doctest.h>

#include <ctime>
#include <filesystem>
#include <functional>

#include "tests/fixture/files.h"
#include "tests/tool/attest_world.h"
#include "tools/attest/challenge.h"
#include "tools/hwid/attest/claimed_state.h"

namespace {

using namespace hwid;
using namespace hwid::test;

}  // namespace

TEST_CASE("attest: a state that cannot be read has its name still") {
  namespace fs = std::filesystem;
  const TemporaryDirectory directory;
  const std::string state = directory.file("state.json");
  fs::create_directory(state);  // which can be renamed, and not read
  CHECK_THROWS_AS(tool::attestation::ClaimedState claimed(state, "content"), core::Error);
  CHECK(fs::exists(state));
  const auto entries = fs::directory_iterator(directory.path());
  CHECK(std::distance(begin(entries), end(entries)) == 1);
}

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
  SUBCASE("the secret by itself, as tpm2_activatecredential writes it") {
    const auto plain = [&](const core::Secret& of) {
      return std::string(of.reveal().begin(), of.reveal().end());
    };
    CHECK(fault(attest::parse_answer(plain(*secret), "answer")).empty());
    secret->writable()[31] ^= 1;
    CHECK(fault(attest::parse_answer(plain(*secret), "answer")).find("the secret is wrong") == 0);
  }
  SUBCASE("what JSON would escape in the challenge's name") {
    attest::Answer odd = answer();
    odd.id = R"("secret": "")";
    const attest::Answer again = attest::parse_answer(attest::to_text(odd), "answer");
    CHECK(again.id == odd.id);
    CHECK(std::ranges::equal(again.secret.reveal(), secret->reveal()));
  }
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
  SUBCASE("a weak AK") {
    SoftwareEk weak(world.crypto, 1024);
    TPMT_PUBLIC& area = weak.area.publicArea;
    area.objectAttributes = kAkAttributes;
    area.parameters.rsaDetail.symmetric.algorithm = TPM2_ALG_NULL;
    area.parameters.rsaDetail.scheme.scheme = TPM2_ALG_RSASSA;
    area.parameters.rsaDetail.scheme.details.rsassa.hashAlg = TPM2_ALG_SHA256;
    request.ak = weak.area;
    CHECK(fault().find("the AK is too weak: it has 80 bits") == 0);
    area.parameters.rsaDetail.scheme.details.rsassa.hashAlg = TPM2_ALG_SHA1;
    request.ak = weak.area;
    CHECK(fault() == "the AK is none: it signs by TPM2_ALG_SHA1, weaker than SHA-256");
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
  const auto of_tools = [&](const Bytes& blob, UINT16 secret_size) {
    tpm2::Credential credential{blob, {}};
    credential.secret.size = secret_size;
    const Bytes bytes = tpm2::tools_credential(credential);
    return message([&] { attest::parse_challenge({bytes.begin(), bytes.end()}, "f"); });
  };
  Bytes blob(132);
  blob[1] = 64;
  CHECK(of_tools(blob, 256).empty());
  blob.resize(68);
  CHECK(of_tools(blob, 256).empty());
  CHECK(of_tools(blob, 0) ==
        "file=f: it is no challenge of tpm2_makecredential: secret: it is empty; have it made "
        "anew");
  blob.resize(67);
  CHECK(of_tools(blob, 256).find("credential: it is no TPMS_ID_OBJECT;") != std::string::npos);
  CHECK(of_tools(Bytes(34), 256).find("credential: it is no TPMS_ID") != std::string::npos);
  CHECK(of_tools({}, 256).find("credential: it is empty;") != std::string::npos);
  CHECK(message([] {
          attest::parse_trusted("-----BEGIN PUBLIC KEY-----\n", "f");
        }).find("does not say what the AK may sign") != std::string::npos);
}
