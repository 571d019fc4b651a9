// Someone between program and TPM, who changes what goes over the bus (doc/threat-model.md).
#include <algorithm>

#include "tests/tpm/world.h"

using namespace hwid;
using namespace hwid::test;
using core::Reason;

namespace {

// A program that knows the name of the key that salts its sessions.
struct Pinned {
  World& w = world();
  std::shared_ptr<tpm2::Tpm> tpm = w.tpm(false, {kParent, w.key(kParent).name});
  Pinned() { w.spy.take_commands(); }
  ~Pinned() {
    w.spy.reset();
    tpm->quiesce();
    CHECK(w.handles(TPM2_TRANSIENT_FIRST).empty());
    CHECK(w.handles(TPM2_LOADED_SESSION_FIRST).empty());
  }
  std::size_t count(TPM2_CC code) {
    const std::vector<TPM2_CC> commands = w.spy.take_commands();
    return static_cast<std::size_t>(std::ranges::count(commands, code));
  }
};

// Once. False where `from` is not in `bytes`.
bool replace(core::Bytes& bytes, core::ByteView from, core::ByteView to) {
  REQUIRE(from.size() == to.size());
  const auto found = std::search(bytes.begin(), bytes.end(), from.begin(), from.end());
  if (found == bytes.end()) return false;
  std::ranges::copy(to, found);
  return true;
}

}  // namespace

TEST_CASE("interposer: a restricted key signs no message that was put in the place of another") {
  Pinned p;
  const tpm2::KeyRef key = p.w.restricted_key(std::string(kAuth));
  const core::Secret value = secret(kAuth);
  const TPMT_SIG_SCHEME none{TPM2_ALG_NULL, {}};
  const auto sign = [&](const std::string& message) {
    return p.tpm->sign_message(p.w.caller, key, {&value, nullptr, true}, core::as_bytes(message),
                               TPM2_ALG_SHA256, none);
  };
  struct Case {
    TPM2_CC changed;
    std::string message;
    const char* call;
  };
  for (const Case& one :
       {Case{TPM2_CC_Hash, "pay nobody", "TPM2_Hash"},
        {TPM2_CC_SequenceUpdate, "pay nobody" + std::string(3000, '.'), "TPM2_SequenceComplete"},
        {TPM2_CC_SequenceComplete, std::string(2048, '.') + "pay nobody",
         "TPM2_SequenceComplete"}}) {
    CAPTURE(one.call);
    CHECK(
        verifies(p.w.crypto, p.w.areas.at(key.name), sha256(one.message), sign(one.message).value));
    bool changed = false;
    p.w.spy.change = [&](TPM2_CC code, core::Bytes& command) {
      if (code == one.changed)
        changed |= replace(command, core::as_bytes("nobody"), core::as_bytes("anyone"));
    };
    p.w.spy.take_commands();
    const std::string text = message_of([&] { sign(one.message); }, Reason::kDeviceError);
    CHECK(changed);
    CHECK(p.count(TPM2_CC_Sign) == 0);  // the signature would be on the bus
    CHECK_MESSAGE(contains(text, one.call), text);
    CHECK_MESSAGE(contains(text, "hashed another message than it was given"), text);
    p.w.spy.reset();
  }
}
