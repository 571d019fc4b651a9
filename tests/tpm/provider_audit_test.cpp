// The audit trail of keys in a TPM.
#include "tests/fixture/audit.h"
#include "tests/fixture/operations.h"
#include "tests/tpm/provider.h"

using namespace hwid::test;
using namespace hwid::test::provider;

namespace {

// What was recorded since the last time.
class Trail {
 public:
  std::string path() const { return world().file("audit"); }
  std::string since() {
    const std::vector<AuditRecord> all = read_audit(path());
    last = {all.begin() + static_cast<std::ptrdiff_t>(seen_), all.end()};
    seen_ = all.size();
    return audit_text(last);
  }
  std::vector<AuditRecord> last;

 private:
  std::size_t seen_ = 0;
};

}  // namespace

TEST_CASE("tpm audit: every operation, at the same count of commands") {
  Trail trail;
  const std::string handle = world().add_key("rsa2048");
  const std::string ec = world().add_key("ecc256", kSignDecrypt);
  const LibraryContext audited(
      world()
          .captured_conf({{"objects", "device=" + handle + " agree=" + ec}})
          .setting("audit", "file:" + trail.path()));
  EvpPkey key;
  const std::string uri = std::string("pkcs11:token=") + kToken + ";object=device";
  CHECK(asked([&] { key = audited.private_key(uri); }) == "ReadPublic 1");
  REQUIRE(trail.since() == "load device ok\n");
  CHECK(trail.last[0].at("backend") == "tpm2");
  CHECK(trail.last[0].at("token") == kToken);
  const auto sign_once = [&] { (void)sign(audited.get(), key.get(), "SHA256", "text"); };
  CHECK(asked(sign_once) == "Sign 1");
  REQUIRE(trail.since() == "sign device ok\n");
  CHECK(contains(trail.last[0].at("mechanism"), "SHA2-256"));

  const EvpPkey judge = software_public(key.get());
  const Padding oaep{RSA_PKCS1_OAEP_PADDING, "SHA256", "SHA256"};
  CHECK(decrypted(audited.get(), key.get(), oaep, encrypted(judge.get(), oaep, "text")) == "text");
  CHECK(contains(trail.since(), "decrypt device ok\n"));

  const EvpPkey agree = audited.private_key(by_handle(ec));
  CHECK(trail.since() == "load " + ec + " ok\n");
  const EvpPkey peer = software_public(agree.get());
  CHECK(derived(audited.get(), agree.get(), peer.get()) != "(failed)");
  CHECK(trail.since() == "derive " + ec + " ok\n");
}

TEST_CASE("tpm audit: a wrong auth value, a handle without a key") {
  Trail trail;
  const LibraryContext audited(world().conf().setting("audit", "file:" + trail.path()));
  (void)trail.since();
  const std::string handle = world().add_key({"ecc256", kCounted, "right", kParent, {}});
  const EvpPkey key = audited.private_key(by_handle(handle) + "?pin-value=wrong");
  CHECK(contains(error_of([&] { (void)sign(audited.get(), key.get(), "SHA256", "text"); }),
                 "TPM_RC_AUTH_FAIL"));
  CHECK(trail.since() == "load " + handle + " ok\nsign " + handle + " TPM_RC_AUTH_FAIL\n");
  CHECK_FALSE(error_of([&] { (void)audited.private_key("tpm2:handle=0x81ffff00"); }).empty());
  REQUIRE(trail.since() == "load tpm2:handle=0x81ffff00 TPM_RC_HANDLE\n");
  CHECK(trail.last[0].at("backend") == "tpm2");
  CHECK_FALSE(contains(read_file(trail.path()), "wrong"));
}

TEST_CASE("tpm audit: keys that are made, and keys in files") {
  Trail trail;
  const LibraryContext audited(world().conf().setting("audit", "file:" + trail.path()));
  (void)trail.since();
  Parameters parameters;
  parameters.texts["group"] = "P-256";
  parameters.texts["hwid_uri"] = "tpm2:handle=0x81000071";
  CHECK(generate(audited, "EC", parameters));
  REQUIRE(trail.since() == "generate 0x81000071 ok\n");
  CHECK(trail.last[0].at("mechanism") == "EC P-256");
  CHECK(trail.last[0].at("backend") == "tpm2");
  CHECK_FALSE(error_of([&] { (void)generate(audited, "EC", parameters); }).empty());
  CHECK(trail.since() == "generate 0x81000071 TPM_RC_NV_DEFINED\n");

  const std::string file = world().add_file({"ecc256", kSignDecrypt, {}, kParent, {}});
  const EvpPkey key = read_pem(audited, read_file(file));
  CHECK(trail.last.size() == 1);
  CHECK(contains(trail.since(), "load "));
  CHECK(trail.last.size() == 1);
  (void)sign(audited.get(), key.get(), "SHA256", "text");
  CHECK(contains(trail.since(), "sign "));
}
