// Keys that were wrapped elsewhere: what a TPM is asked for them.
#include "provider/tpm2/tss2_pem.h"
#include "tests/fixture/command.h"
#include "tests/tpm/world.h"

using namespace hwid;
using namespace hwid::test;
using core::Reason;

namespace {

using Codes = std::vector<TPM2_CC>;

// A software key that tpm2-tools wrapped for the parent.
tpm2::KeyRef wrapped_key() {
  World& w = world();
  static int files = 0;
  const std::string stem = w.swtpm.directory().file("wrapped-" + std::to_string(++files));
  w.swtpm.tool({"tpm2_readpublic", "-Q", "-c", "0x81000001", "-o", stem + ".parent"});
  run_checked(
      {"openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", stem + ".key"},
      {});
  w.swtpm.tool({"tpm2_duplicate", "--tcti", "none", "-U", stem + ".parent", "-G", "ecc", "-k",
                stem + ".key", "-u", stem + ".pub", "-r", stem + ".priv", "-s", stem + ".seed"});
  tpm2::KeyRef key = w.blob({stem + ".pub", stem + ".priv"});
  auto blob = std::make_shared<tpm2::KeyBlob>(*key.blob);
  tpm2::Tss2Key file;
  file.kind = tpm2::Tss2Key::Kind::kImportable;
  const std::string seed = read_file(stem + ".seed");
  file.secret.assign(seed.begin(), seed.end());
  blob->seed = tpm2::seed_of(file);
  key.blob = blob;
  return key;
}

}  // namespace

TEST_CASE("import: once a connection, however often the key makes room for others") {
  World& w = world();
  const auto tpm = w.tpm();
  const tpm2::KeyRef key = wrapped_key();
  const tpm2::KeyRef other = wrapped_key();
  CHECK(w.signs(*tpm, key));  // (the TPM may ask for the first one twice)
  CHECK(w.signs(*tpm, other));
  w.spy.take_commands();
  CHECK(w.signs(*tpm, key));
  CHECK(w.spy.take_commands() == Codes{TPM2_CC_FlushContext, TPM2_CC_Load, TPM2_CC_Sign});
  CHECK(w.signs(*tpm, key));
  CHECK(w.spy.take_commands() == Codes{TPM2_CC_Sign});
  OtherProgram().flush_all();
  CHECK(w.signs(*tpm, key));
  CHECK(w.spy.take_commands() == Codes{TPM2_CC_Sign, TPM2_CC_Load, TPM2_CC_Sign});
  w.swtpm.shut_down();
  w.swtpm.restart();
  CHECK(w.signs(*tpm, key));
  CHECK(w.signs(*tpm, other));
  tpm->quiesce();
  w.spy.take_commands();
  CHECK(w.signs(*tpm, key));
  CHECK(w.spy.take_commands() == Codes{TPM2_CC_Import, TPM2_CC_Load, TPM2_CC_Sign});
  tpm->quiesce();
}

TEST_CASE("import: what was wrapped for another parent") {
  World& w = world();
  const auto tpm = w.tpm();
  tpm2::KeyRef key = wrapped_key();
  w.swtpm.make_parent("0x81000021");
  w.swtpm.make_parent("0x81000022", "rsa");
  for (const TPM2_HANDLE parent : {0x81000022U, static_cast<unsigned>(TPM2_RH_NULL)}) {
    auto blob = std::make_shared<tpm2::KeyBlob>(*key.blob);
    blob->parent.handle = parent;
    key.blob = blob;
    const std::string text = message_of([&] { w.signs(*tpm, key); }, Reason::kNoObject);
    CHECK(contains(text, "TPM2_Import: "));
    CHECK_MESSAGE(contains(text, parent == TPM2_RH_NULL ? "does not belong to this parent"
                                                        : "was not wrapped for this parent"),
                  text);
  }
  tpm->quiesce();
  w.swtpm.remove("0x81000021");
  w.swtpm.remove("0x81000022");
}
