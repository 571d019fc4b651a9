// What happens to an open key when its TPM goes, comes back, or holds something else.
#include "tests/fixture/life.h"
#include "tests/fixture/operations.h"
#include "tests/tpm/provider.h"

using namespace hwid::test;
using namespace hwid::test::provider;
using namespace hwid::test::life;

namespace {

constexpr const char* kValue = "an-auth-value";
const Swtpm::KeyOptions kPlain{"ecc256", kSignDecrypt, {}, kParent, {}};
const Swtpm::KeyOptions kSecret{"ecc256", kSignDecrypt, kValue, kParent, {}};

KeySigner open(const LibraryContext& context, const std::string& uri) {
  return {context, context.private_key(uri), false};
}
KeySigner open(const std::string& uri) { return open(context(), uri); }

// Another program's key at the handle of ours.
void replace(const std::string& handle, const Swtpm::KeyOptions& options = kPlain) {
  world().swtpm.remove(handle);
  world().swtpm.make_key(options, handle);
}

void check_changed(const std::string& failure, const std::string& handle) {
  CHECK_MESSAGE(contains(failure, "another key sits at " + handle + " now; open the key again"),
                failure);
}

}  // namespace

TEST_CASE("tpm loss: keys survive a restart of the TPM") {
  const std::string handle = world().add_key(kPlain);
  const std::string secret = world().add_key(kSecret);
  const std::string file = world().add_file(kPlain);
  const KeySigner signers[] = {open(by_handle(handle)), open(file),
                               open(by_handle(secret) + "?pin-value=" + kValue)};
  for (const KeySigner& signer : signers) CHECK(signer.signs());
  for (int time = 0; time < 2; ++time) {
    world().swtpm.restart();
    for (const KeySigner& signer : signers) CHECK(signer.failure(2).empty());
  }
  KeySigner::Stream stream = signers[1].stream();
  world().swtpm.restart();
  CHECK(stream.finish().empty());
}

TEST_CASE("tpm loss: a TPM that is away is said, and is used again when it is back") {
  const std::string handle = world().add_key(kPlain);
  const KeySigner signer = open(by_handle(handle));
  const KeySigner file = open(world().add_file(kPlain));
  CHECK(signer.signs());
  world().swtpm.stop();
  for (const KeySigner* const away : {&signer, &file, &signer}) {
    const std::string failure = away->failure();
    CHECK_MESSAGE(contains(failure, "tpm=" + world().swtpm.tcti()), failure);
    CHECK_MESSAGE(contains(failure, "TSS2_TCTI_RC_IO_ERROR"), failure);
  }
  world().swtpm.start();
  CHECK(signer.failure(2).empty());
  CHECK(file.failure(2).empty());
}

TEST_CASE("tpm loss: another program's key at the handle is no key of ours") {
  const std::string handle = world().add_key(kPlain);
  const KeySigner unused = open(by_handle(handle));  // loaded, and not used yet
  replace(handle);
  check_changed(unused.failure(), handle);
  CHECK(open(by_handle(handle)).signs());  // the new one, for who asks for it
  check_changed(unused.failure(), handle);
}

TEST_CASE("tpm loss: another program's key is found after the TPM was away") {
  const std::string handle = world().add_key(kPlain);
  const KeySigner signer = open(by_handle(handle));
  CHECK(signer.signs(2));
  replace(handle);
  world().swtpm.stop();
  CHECK(!signer.failure().empty());
  world().swtpm.start();
  check_changed(signer.failure(), handle);
  CHECK(open(by_handle(handle)).signs());
}

TEST_CASE("tpm loss: a key of another kind at the handle is another key, too") {
  const std::string handle = world().add_key(kPlain);
  const KeySigner signer = open(by_handle(handle));
  CHECK(signer.signs(2));
  replace(handle, {"rsa2048", kSignDecrypt, {}, kParent, {}});
  check_changed(signer.failure(), handle);
  replace(handle, kSecret);
  check_changed(signer.failure(), handle);
}

TEST_CASE("tpm loss: verify-signatures = all finds it at once") {
  const std::string handle = world().add_key(kPlain);
  const LibraryContext careful(world().conf({{"verify-signatures", "all"}}));
  const KeySigner signer = open(careful, by_handle(handle));
  CHECK(signer.signs(3));
  replace(handle);
  check_changed(signer.failure(), handle);
  CHECK(open(careful, by_handle(handle)).signs());
}

TEST_CASE("tpm loss: verify-signatures = all loads a key again whose slot has another one") {
  const LibraryContext careful(world().conf({{"verify-signatures", "all"}}));
  const KeySigner signer = open(careful, world().add_file(kPlain));
  const Swtpm::KeyFiles other = world().swtpm.make_key(kPlain);
  CHECK(signer.signs());
  const std::string before = world().swtpm.loaded();
  world().swtpm.tool({"tpm2_getcap", "handles-transient"});  // which flushes ours
  world().swtpm.leave_loaded(other);
  REQUIRE(world().swtpm.loaded() == before);  // by number
  CHECK(signer.failure().empty());
  world().swtpm.tool({"tpm2_getcap", "handles-transient"});
}

TEST_CASE("tpm loss: a session finds it at once, and it is not taken for a wrong auth value") {
  const Swtpm::KeyOptions counted{"ecc256", kCounted, kValue, kParent, {}};
  const std::string handle = world().add_key(counted);
  const std::string uri = by_handle(handle) + "?pin-value=" + kValue;
  const KeySigner signer = open(uri);
  CHECK(signer.signs(2));
  replace(handle, counted);
  check_changed(signer.failure(), handle);
  CHECK(open(uri).signs(2));  // the value was not refused
  world().swtpm.reset_lockout();
}

TEST_CASE("tpm loss: another key decrypts and agrees for nobody") {
  const Swtpm::KeyOptions decrypt{
      "ecc256",
      "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|decrypt",
      {},
      kParent,
      {}};
  const std::string handle = world().add_key(decrypt);
  const EvpPkey own = key(by_handle(handle));
  const EvpPkey peer = key(by_handle(world().add_key(kPlain)));
  const EvpPkey peer_public = software_public(peer.get());
  replace(handle, decrypt);
  CHECK(derived(context().get(), own.get(), peer_public.get()) == "(failed)");
  const std::string errors = openssl_errors();
  CHECK_MESSAGE(contains(errors, "another key sits at " + handle), errors);
}

// Last: nothing of the other cases is left.
TEST_CASE("tpm loss: a TPM that was cleared does not have the key, and says so") {
  const std::string handle = world().add_key(kPlain);
  const std::string file = world().add_file(kPlain);
  const KeySigner persistent = open(by_handle(handle));
  const KeySigner wrapped = open(file);
  CHECK(persistent.signs());
  CHECK(wrapped.signs());
  world().swtpm.wipe();
  const std::string gone = persistent.failure();
  CHECK_MESSAGE(contains(gone, "TPM_RC_HANDLE"), gone);
  CHECK_MESSAGE(contains(gone, handle), gone);
  const std::string no_parent = wrapped.failure();
  CHECK_MESSAGE(contains(no_parent, "TPM2_Load: TPM_RC_HANDLE"), no_parent);
  world().swtpm.make_parent(kParent);
  const std::string foreign = wrapped.failure();
  CHECK_MESSAGE(contains(foreign, "TPM2_Load: TPM_RC_INTEGRITY"), foreign);
  CHECK_MESSAGE(contains(foreign, "the key does not belong to this parent or this TPM"), foreign);
  CHECK(contains(error_of([&] { (void)key(by_handle(handle)); }), "TPM_RC_HANDLE"));
  world().swtpm.make_key(kPlain, handle);
  check_changed(persistent.failure(), handle);
  CHECK(open(by_handle(handle)).signs());
}
