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

// Of a P-256 key, as hwid makes it.
TPMT_PUBLIC wanted_key() {
  core::KeySpec spec;
  spec.algorithm = core::Algorithm::kEc;
  return tpm2::key_template(spec, core::Digest::kSha256, false).publicArea;
}

core::Bytes big_endian(std::uint32_t number) {
  return {static_cast<std::uint8_t>(number >> 24), static_cast<std::uint8_t>(number >> 16),
          static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
}

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

namespace {

// Who has the TPM make a key that can be duplicated, and may hide that in the answer.
struct Loosener {
  core::Bytes fixed = big_endian(wanted_key().objectAttributes);
  core::Bytes loose =
      big_endian(wanted_key().objectAttributes & ~(TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT));
  int changed = 0;

  void sit(Spy& spy, bool hides) {
    spy.change = [this](TPM2_CC code, core::Bytes& command) {
      if (code == TPM2_CC_Create) changed += replace(command, fixed, loose) ? 1 : 0;
    };
    spy.after = [this, hides](TPM2_CC code, core::Bytes& answer) {
      if (code == TPM2_CC_Create && hides) changed += replace(answer, loose, fixed) ? 1 : 0;
      return TSS2_RC_SUCCESS;
    };
  }
};

}  // namespace

TEST_CASE("interposer: a key that is made otherwise than it was wanted is not taken") {
  Pinned p;
  const auto unpinned = p.w.tpm();
  Loosener loosener;
  loosener.sit(p.w.spy, false);
  const std::string text = message_of(
      [&] {
        unpinned->create(p.w.caller, {kParent, nullptr}, {}, nullptr, wanted_key());
      },
      Reason::kKeyChanged);
  CHECK(loosener.changed == 1);
  CHECK_MESSAGE(contains(text, "TPM2_Create"), text);
  CHECK_MESSAGE(contains(text, "another kind of key than it was asked for"), text);
  unpinned->quiesce();
}

TEST_CASE("interposer: a primary that is made otherwise than it was wanted is no parent") {
  Pinned p;
  const auto unpinned = p.w.tpm();
  const TPMT_PUBLIC primary = tpm2::storage_template(tpm2::StorageKey::kRsa2048).publicArea;
  const core::Bytes fixed = big_endian(primary.objectAttributes);
  const core::Bytes counted = big_endian(primary.objectAttributes & ~TPMA_OBJECT_NODA);
  p.w.spy.change = [&](TPM2_CC code, core::Bytes& command) {
    if (code == TPM2_CC_CreatePrimary) CHECK(replace(command, fixed, counted));
  };
  const std::string text = message_of(
      [&] {
        unpinned->create(p.w.caller, {TPM2_RH_OWNER, std::make_shared<const TPMT_PUBLIC>(primary)},
                         {}, nullptr, wanted_key());
      },
      Reason::kKeyChanged);
  CHECK_MESSAGE(contains(text, "TPM2_CreatePrimary"), text);
  unpinned->quiesce();
}

TEST_CASE("interposer: what was loaded by an answer that is not taken does not stay in the TPM") {
  Pinned p;
  const auto unpinned = p.w.tpm();
  const tpm2::KeyRef blob = p.w.blob(p.w.swtpm.make_key({}));
  const auto primary = std::make_shared<const TPMT_PUBLIC>(
      tpm2::storage_template(tpm2::StorageKey::kRsa2048).publicArea);
  const core::Secret value = secret(kAuth);
  struct Case {
    TPM2_CC damaged;
    std::function<void()> use;
  };
  for (const Case& one :
       {Case{TPM2_CC_CreatePrimary,
             [&] {
               unpinned->create(p.w.caller, {TPM2_RH_OWNER, primary}, {}, nullptr, wanted_key());
             }},
        {TPM2_CC_Load, [&] { p.w.signs(*unpinned, blob); }},
        {TPM2_CC_LoadExternal,
         [&] { unpinned->verifies(p.w.caller, blob.blob->public_area, core::Bytes(32), {}); }},
        {TPM2_CC_StartAuthSession, [&] {
           p.w.signs(*unpinned, p.w.key(kSecretKey), {&value, nullptr, false});
         }}}) {
    CAPTURE(one.damaged);
    int damaged = 0;
    p.w.spy.after = [&](TPM2_CC code, core::Bytes& answer) {
      if (code != one.damaged) return TSS2_RC_SUCCESS;
      // After the header and the handle; and the parameters' size, where there are sessions.
      const bool has_sessions = answer.at(1) == (TPM2_ST_SESSIONS & 0xff);
      --answer.at(has_sessions ? 19 : 15);  // the size of the first TPM2B
      ++damaged;
      return TSS2_RC_SUCCESS;
    };
    const std::string text = message_of(one.use, Reason::kDeviceError);
    CHECK(damaged == 1);
    CHECK_MESSAGE(contains(text, "TSS2_SYS_RC_MALFORMED_RESPONSE"), text);
    CHECK(p.w.handles(TPM2_TRANSIENT_FIRST).empty());
    CHECK(p.w.handles(TPM2_LOADED_SESSION_FIRST).empty());
    p.w.spy.reset();
    unpinned->quiesce();
  }
}

TEST_CASE("interposer: with parent-name a key is made in a session, which hides no change") {
  Pinned p;
  const auto create = [&] {
    return p.tpm->create(p.w.caller, {kParent, nullptr}, {}, nullptr, wanted_key());
  };
  create();
  CHECK(p.w.spy.take_commands() ==
        std::vector<TPM2_CC>{TPM2_CC_ReadPublic, TPM2_CC_StartAuthSession, TPM2_CC_Create});
  create();
  CHECK(p.w.spy.take_commands() == std::vector<TPM2_CC>{TPM2_CC_Create});
  CHECK_FALSE(p.tpm->create(p.w.caller, {}, {}, nullptr, wanted_key()).creation.data.empty());
  // A key of somebody else's: what the TPM answered with another one's public half.
  const TPMT_PUBLIC other = p.w.areas.at(p.w.key(kEcKey).name);
  p.w.spy.after = [&](TPM2_CC code, core::Bytes& answer) {
    if (code != TPM2_CC_Create) return TSS2_RC_SUCCESS;
    const core::ByteView point(other.unique.ecc.x.buffer, other.unique.ecc.x.size);
    // Before x: no scheme, P-256, no KDF, and the size of x.
    const core::Bytes before = {0, 0x10, 0, 0x03, 0, 0x10, 0, 0x20};
    const auto found = std::search(answer.begin(), answer.end(), before.begin(), before.end());
    REQUIRE(found != answer.end());
    std::ranges::copy(point, found + static_cast<std::ptrdiff_t>(before.size()));
    return TSS2_RC_SUCCESS;
  };
  const std::string swapped = message_of(create, Reason::kDeviceError);
  CHECK_MESSAGE(contains(swapped, "the answer does not come from the TPM"), swapped);
  p.w.spy.reset();
  Loosener loosener;
  loosener.sit(p.w.spy, true);
  CHECK_THROWS_AS(create(), core::Error);
  CHECK(loosener.changed == 1);  // the TPM refused, so it answered with no key
}

TEST_CASE("interposer: with parent-name the key that was made becomes persistent, and no other") {
  Pinned p;
  constexpr TPM2_HANDLE kNew = 0x81000078;
  const tpm2::KeyRef mine = p.w.blob(p.w.swtpm.make_key({}));
  const tpm2::KeyRef another = p.w.blob(p.w.swtpm.make_key({}));
  OtherProgram other;
  const TPM2_HANDLE theirs = other.load(another).handle;
  p.w.spy.change = [&](TPM2_CC code, core::Bytes& command) {
    constexpr std::size_t kObjectAt = 14;  // after the header and the hierarchy
    if (code == TPM2_CC_EvictControl)
      std::ranges::copy(big_endian(theirs), command.begin() + kObjectAt);
  };
  CHECK_THROWS_AS(p.tpm->persist(p.w.caller, mine, {}, nullptr, kNew), core::Error);
  const std::vector<TPM2_HANDLE> there = p.w.handles(TPM2_PERSISTENT_FIRST);
  CHECK(std::ranges::find(there, kNew) == there.end());
  other.commands.flush(theirs);
}
