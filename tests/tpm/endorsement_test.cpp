// Endorsement keys, of a TPM as its maker delivers it and of a bare one.
#include "provider/tpm2/endorsement.h"

#include <openssl/pem.h>

#include "tests/fixture/command.h"
#include "tests/tpm/world.h"

using namespace hwid;
using namespace hwid::test;
using core::Bytes;
using core::Reason;

namespace {

// Beside the one of the other tests: each of these begins anew.
struct Delivered {
  std::shared_ptr<tpm2::Tpm> tpm() {
    return std::make_shared<tpm2::Tpm>(tpm2::TpmSetup{swtpm.tcti(), false, {}, spy.opener()});
  }
  tpm2::EndorsementKey find(bool (*is_of)(const tpm2::EkType&) noexcept) {
    return tpm2::find_endorsement_key(*tpm(), caller, is_of);
  }
  tpm2::EndorsementKey find(const char* name) {
    return tpm2::find_endorsement_key(*tpm(), caller, *tpm2::ek_type_named(name));
  }
  // By tpm2-tools, from outside of NV.
  core::PublicKey created(const char* algorithm) {
    const std::string file = swtpm.directory().file("ek.pem");
    swtpm.tool({"tpm2_createek", "-Q", "-G", algorithm, "-u", file, "-f", "pem", "-c",
                swtpm.directory().file("ek.ctx")});
    const core::Bio bio(BIO_new_file(file.c_str(), "r"));
    const core::EvpPkey key(PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr));
    unsigned char* der = nullptr;
    const int size = i2d_PUBKEY(key.get(), &der);
    core::PublicKey made =
        core::PublicKey::from_spki(crypto, {der, static_cast<std::size_t>(size)});
    OPENSSL_free(der);
    return made;
  }
  core::PublicKey key_of(const tpm2::EndorsementKey& key) {
    return tpm2::public_key(crypto, key.object.public_area);
  }
  core::PublicKey certified(const tpm2::EndorsementKey& key) {
    return core::PublicKey::from_certificate(crypto, key.certificates.at(0));
  }

  Swtpm swtpm;
  Spy spy;
  core::Libcrypto crypto;
  core::Log log;
  tpm2::Caller caller{crypto, log};
};

Delivered& delivered() {
  static Delivered made;
  made.swtpm.wipe_as_delivered();
  return made;
}

bool is_rsa(const tpm2::EkType& type) noexcept { return type.is_rsa; }
bool is_ecc(const tpm2::EkType& type) noexcept { return !type.is_rsa; }

}  // namespace

TEST_CASE("endorsement: the certificate, its key, and where that is") {
  Delivered& d = delivered();
  const auto rsa = d.find(is_rsa);
  CHECK(std::string(rsa.type->name) == "L-1");
  CHECK(rsa.persistent == 0x81010001);
  CHECK(rsa.certificates.size() == 1);
  CHECK(d.certified(rsa) == d.key_of(rsa));
  CHECK(d.created("rsa") == d.key_of(rsa));
  const auto ecc = d.find(is_ecc);
  CHECK(std::string(ecc.type->name) == "H-3");
  CHECK(ecc.persistent == 0x81010016);
  CHECK(d.certified(ecc) == d.key_of(ecc));
  CHECK(tpm2::matches_template(ecc.object.public_area, ecc.wanted));
  CHECK(tpm2::matches_template(rsa.object.public_area, rsa.wanted));
}

TEST_CASE("endorsement: a key that is not persistent is made by the template") {
  Delivered& d = delivered();
  d.swtpm.remove("0x81010001");
  d.swtpm.remove("0x81010016");
  for (const auto is_of : {is_rsa, is_ecc}) {
    const auto key = d.find(is_of);
    CHECK(key.persistent == 0);
    CHECK(d.certified(key) == d.key_of(key));
  }
  CHECK(d.swtpm.loaded().empty());
  // of kinds for which there is no certificate
  const auto p256 = d.find("L-2");
  CHECK(p256.certificates.empty());
  CHECK(d.created("ecc") == d.key_of(p256));
  CHECK(d.find("H-1").object.name != d.find("L-1").object.name);
  const std::string none = message_of([&] { d.find("H-7"); }, Reason::kNoObject);
  CHECK(contains(none, "RSA 4096"));
}

TEST_CASE("endorsement: without certificates the first kind, or that of a persistent key") {
  Delivered& d = delivered();
  d.swtpm.wipe();
  const auto rsa = d.find(is_rsa);
  CHECK(std::string(rsa.type->name) == "L-1");
  CHECK(rsa.certificates.empty());
  CHECK(d.created("rsa") == d.key_of(rsa));
  CHECK(std::string(d.find(is_ecc).type->name) == "L-2");
  d.swtpm.tool({"tpm2_createek", "-Q", "-G", "ecc", "-c", "0x81010007"});
  CHECK(d.find(is_ecc).persistent == 0x81010007);
}

TEST_CASE("endorsement: nonce and template of the TPM's maker") {
  Delivered& d = delivered();
  d.swtpm.wipe();
  const auto plain = d.find(is_rsa);
  const std::string file = d.swtpm.directory().file("nonce");
  write_file(file, std::string(64, 'n'));
  d.swtpm.tool({"tpm2_nvdefine", "0x1c00003", "-Q", "-C", "o", "-s", "64", "-a",
                "ownerwrite|ownerread|authread|no_da"});
  d.swtpm.tool({"tpm2_nvwrite", "-Q", "-C", "o", "-i", file, "0x1c00003"});
  const auto other = d.find(is_rsa);
  CHECK(other.object.name != plain.object.name);
  CHECK(other.wanted.unique.rsa.buffer[63] == 'n');
}

TEST_CASE("endorsement: a certificate for another key") {
  Delivered& d = delivered();
  const std::string file = d.swtpm.directory().file("ek.der");
  d.swtpm.tool({"tpm2_nvread", "-Q", "-o", file, "0x1c00002"});
  d.swtpm.wipe();
  const auto define = [&](const std::string& content) {
    write_file(file, content);
    d.swtpm.tool({"tpm2_nvdefine", "0x1c00002", "-Q", "-C", "o", "-s",
                  std::to_string(content.size()), "-a", "ownerwrite|ownerread|authread|no_da"});
    d.swtpm.tool({"tpm2_nvwrite", "-Q", "-C", "o", "-i", file, "0x1c00002"});
  };
  define(read_file(file));
  const std::string message = message_of([&] { d.find(is_rsa); }, Reason::kKeyChanged);
  CHECK(contains(message, "for another key"));
  CHECK(contains(message, "0x1c00002"));
  d.swtpm.tool({"tpm2_nvundefine", "-C", "o", "0x1c00002"});
  define(std::string(500, '\xff'));
  const tpm2::EndorsementKey found = d.find(is_rsa);  // the key needs none
  CHECK(found.certificates.empty());
  CHECK(contains(found.problem, "it is empty"));
  CHECK(contains(found.problem, "0x1c00002"));
}

TEST_CASE("endorsement: what the TPM is asked") {
  Delivered& d = delivered();
  using Codes = std::vector<TPM2_CC>;
  const auto tpm = d.tpm();
  d.spy.take_commands();
  tpm2::find_endorsement_key(*tpm, d.caller, is_rsa);
  CHECK(d.spy.take_commands() ==
        Codes{TPM2_CC_GetCapability, TPM2_CC_NV_ReadPublic, TPM2_CC_GetCapability, TPM2_CC_NV_Read,
              TPM2_CC_GetCapability, TPM2_CC_ReadPublic, TPM2_CC_ReadPublic});
  d.swtpm.remove("0x81010001");
  tpm2::find_endorsement_key(*tpm, d.caller, is_rsa);
  d.spy.take_commands();
  tpm2::find_endorsement_key(*tpm, d.caller, is_rsa);  // its context is there
  CHECK(d.spy.take_commands() ==
        Codes{TPM2_CC_GetCapability, TPM2_CC_NV_ReadPublic, TPM2_CC_NV_Read, TPM2_CC_GetCapability,
              TPM2_CC_ReadPublic, TPM2_CC_ContextLoad, TPM2_CC_ReadPublic, TPM2_CC_FlushContext});
}

TEST_CASE("endorsement: a hierarchy with an auth value") {
  Delivered& d = delivered();
  d.swtpm.remove("0x81010001");
  d.swtpm.tool({"tpm2_changeauth", "-Q", "-c", "e", "of-the-maker"});
  const auto tpm = d.tpm();
  const auto find = [&](const core::Secret* value) {
    return tpm2::find_endorsement_key(*tpm, d.caller, *tpm2::ek_type_named("L-1"), value);
  };
  CHECK(contains(message_of([&] { find(nullptr); }, Reason::kPinMissing), "parent-pin-source"));
  const core::Secret wrong = secret("wrong");
  message_of([&] { find(&wrong); }, Reason::kPinWrong);
  d.spy.take_commands();
  message_of([&] { find(&wrong); }, Reason::kPinWrong);
  for (const TPM2_CC code : d.spy.take_commands()) CHECK(code != TPM2_CC_CreatePrimary);
  const core::Secret right = secret("of-the-maker");
  const auto key = find(&right);
  CHECK(d.certified(key) == d.key_of(key));
  CHECK_FALSE(d.spy.saw(core::as_bytes("of-the-maker")));
}
