#include "provider/tpm2/tpm.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "tests/tpm/world.h"

using namespace hwid;
using namespace hwid::test;
using core::Reason;

namespace {

using Codes = std::vector<TPM2_CC>;

// A TPM of one test, and nothing of it left afterwards.
struct Fresh {
  World& w = world();
  std::shared_ptr<tpm2::Tpm> tpm;
  explicit Fresh(bool exclusive = false, tpm2::SaltKey salt = {})
      : tpm(w.tpm(exclusive, std::move(salt))) {
    w.spy.take_commands();
  }
  ~Fresh() {
    w.spy.reset();
    tpm->quiesce();
    CHECK(w.handles(TPM2_TRANSIENT_FIRST).empty());
    CHECK(w.handles(TPM2_LOADED_SESSION_FIRST).empty());
  }
  Codes codes() { return w.spy.take_commands(); }
};

}  // namespace

TEST_CASE("tpm: a persistent key costs ReadPublic and Sign, then Sign") {
  Fresh f;
  const tpm2::PublicObject object = f.tpm->read_public(f.w.caller, kEcKey);
  f.w.areas[object.name] = object.public_area;
  const tpm2::KeyRef key{kEcKey, nullptr, object.name, {}};
  CHECK(f.w.signs(*f.tpm, key));
  CHECK(f.codes() == Codes{TPM2_CC_ReadPublic, TPM2_CC_Sign});
  CHECK(f.w.signs(*f.tpm, key));
  CHECK(f.codes() == Codes{TPM2_CC_Sign});
  f.tpm->quiesce();
  CHECK(f.codes().empty());
}

TEST_CASE("tpm: a key file below a persistent parent costs Load, Sign and a flush") {
  Fresh f;
  const tpm2::KeyRef key = f.w.blob(f.w.swtpm.make_key({}));
  f.codes();
  CHECK(f.w.signs(*f.tpm, key));
  CHECK(f.w.signs(*f.tpm, key));
  CHECK(f.codes() == Codes{TPM2_CC_Load, TPM2_CC_Sign, TPM2_CC_Sign});
  f.tpm->quiesce();
  CHECK(f.codes() == Codes{TPM2_CC_FlushContext});
}

namespace {

std::vector<tpm2::KeyRef> keys_below(Fresh& f, const tpm2::Parent& parent) {
  core::KeySpec spec;
  spec.algorithm = core::Algorithm::kEc;
  const TPMT_PUBLIC wanted = tpm2::key_template(spec, core::Digest::kSha256, false).publicArea;
  std::vector<tpm2::KeyRef> keys;
  for (int i = 0; i < 2; ++i) {
    const tpm2::CreatedObject made = f.tpm->create(f.w.caller, parent, {}, nullptr, wanted);
    auto blob = std::make_shared<tpm2::KeyBlob>();
    blob->public_area = made.public_area;
    blob->private_area = made.private_area;
    blob->parent = parent;
    keys.push_back(f.w.ref(std::move(blob)));
  }
  f.tpm->quiesce();
  f.codes();
  return keys;
}

constexpr TPM2_CC kFlush = TPM2_CC_FlushContext;

}  // namespace

TEST_CASE("tpm: keys below a hierarchy need no primary where a persistent one is the same") {
  Fresh f;
  const std::vector<tpm2::KeyRef> keys = keys_below(f, {});
  CHECK(f.w.signs(*f.tpm, keys[0]));
  CHECK(f.codes() == Codes{TPM2_CC_ReadPublic, TPM2_CC_Load, TPM2_CC_Sign});
  CHECK(f.w.signs(*f.tpm, keys[1]));
  CHECK(f.codes() == Codes{kFlush, TPM2_CC_Load, TPM2_CC_Sign});
}

TEST_CASE("tpm: where none is, the primary is made once, and loaded saved") {
  Fresh f;
  const auto rsa = std::make_shared<const TPMT_PUBLIC>(
      tpm2::storage_template(tpm2::StorageKey::kRsa2048).publicArea);
  const std::vector<tpm2::KeyRef> keys = keys_below(f, {TPM2_RH_OWNER, rsa});
  CHECK(f.w.signs(*f.tpm, keys[0]));
  CHECK(f.codes() == Codes{TPM2_CC_ReadPublic, TPM2_CC_CreatePrimary, TPM2_CC_ContextSave,
                           TPM2_CC_Load, kFlush, TPM2_CC_Sign});
  CHECK(f.w.signs(*f.tpm, keys[1]));
  CHECK(f.codes() == Codes{kFlush, TPM2_CC_ContextLoad, TPM2_CC_Load, kFlush, TPM2_CC_Sign});
  f.w.swtpm.restart();  // the saved context is worthless then
  CHECK(f.w.signs(*f.tpm, keys[0]));
}

TEST_CASE("tpm: a storage key that only looks like the primary is found out") {
  World& w = world();
  Swtpm::KeyOptions options;
  options.algorithm = "ecc256:null:aes128cfb";
  options.attributes =
      "restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda";
  w.swtpm.make_key(options, "0x81000030");
  {
    Fresh f(false, {0x81000030, {}});
    const std::vector<tpm2::KeyRef> keys = keys_below(f, {});
    CHECK(f.w.signs(*f.tpm, keys[0]));
    CHECK(f.codes() == Codes{TPM2_CC_ReadPublic, TPM2_CC_Load, TPM2_CC_CreatePrimary,
                             TPM2_CC_ContextSave, TPM2_CC_Load, kFlush, TPM2_CC_Sign});
    CHECK(f.w.signs(*f.tpm, keys[1]));
    CHECK(f.codes() == Codes{kFlush, TPM2_CC_ContextLoad, TPM2_CC_Load, kFlush, TPM2_CC_Sign});
  }
  w.swtpm.remove("0x81000030");
}

TEST_CASE("tpm: an auth value costs one session a process, and never shows") {
  for (const bool configured : {false, true}) {
    Fresh f(false, configured ? tpm2::SaltKey{kParent, {}} : tpm2::SaltKey{});
    const tpm2::KeyRef key = f.w.key(kSecretKey);
    const core::Secret value = secret(kAuth);
    CHECK(f.w.signs(*f.tpm, key, {&value}));
    if (configured)
      CHECK(f.codes() == Codes{TPM2_CC_ReadPublic, TPM2_CC_StartAuthSession, TPM2_CC_Sign});
    else
      CHECK(f.codes() == Codes{TPM2_CC_CreatePrimary, TPM2_CC_StartAuthSession,
                               TPM2_CC_FlushContext, TPM2_CC_Sign});
    CHECK(f.w.signs(*f.tpm, key, {&value}));
    CHECK(f.codes() == Codes{TPM2_CC_Sign});
    CHECK(f.w.signs(*f.tpm, f.w.key(kEcKey)));
    CHECK(f.codes() == Codes{TPM2_CC_Sign});
    CHECK_FALSE(f.w.spy.saw(core::as_bytes(kAuth)));
  }
}

TEST_CASE("tpm: key files with auth values, below parents of both kinds") {
  Fresh f;
  const core::Secret value = secret(kAuth);
  core::KeySpec spec;
  spec.algorithm = core::Algorithm::kEc;
  const TPMT_PUBLIC wanted = tpm2::key_template(spec, core::Digest::kSha256, true).publicArea;
  for (const TPM2_HANDLE parent : {TPM2_HANDLE{TPM2_RH_OWNER}, kParent}) {
    const tpm2::CreatedObject made =
        f.tpm->create(f.w.caller, {parent, nullptr}, {}, &value, wanted);
    auto blob = std::make_shared<tpm2::KeyBlob>();
    blob->public_area = made.public_area;
    blob->private_area = made.private_area;
    blob->parent.handle = parent;
    const tpm2::KeyRef key = f.w.ref(std::move(blob));
    CHECK(f.w.signs(*f.tpm, key, {&value}));
    f.tpm->quiesce();
    CHECK(f.w.signs(*f.tpm, key, {&value}));
  }
  CHECK_FALSE(f.w.spy.saw(core::as_bytes(kAuth)));
}

TEST_CASE("tpm: a parent's wrong auth value is sent once, also where the key is only looked at") {
  constexpr TPM2_HANDLE kSecretParent = 0x81000031;
  Fresh f;
  const std::string primary = f.w.swtpm.directory().file("secret-parent.ctx");
  f.w.swtpm.tool({"tpm2_createprimary", "-Q", "-C", "o", "-G", "ecc", "-p", "mother", "-c", primary,
                  "-a",
                  "restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda"});
  f.w.swtpm.tool({"tpm2_evictcontrol", "-Q", "-C", "o", "-c", primary, tpm2::hex(kSecretParent)});
  Swtpm::KeyOptions options;
  options.parent = tpm2::hex(kSecretParent);
  options.parent_auth = "mother";
  const tpm2::KeyRef key = f.w.blob(f.w.swtpm.make_key(options), {kSecretParent, nullptr});
  const core::Secret wrong = secret("stranger");
  const core::Secret right = secret("mother");
  core::Bytes name;
  const auto look = [&](const core::Secret* value) {
    f.tpm->with_object(f.w.caller, "a-key", key, value,
                       [&](tpm2::Commands& commands, const tpm2::Entity& there) {
                         name = commands.read_public(there.handle).name;
                       });
  };
  const auto loads = [&] { return std::ranges::count(f.codes(), TPM2_CC_Load); };
  loads();
  CHECK(contains(message_of([&] { look(&wrong); }, Reason::kPinWrong),
                 "the auth value of the key's parent (0x81000031) is wrong"));
  CHECK(loads() == 1);
  CHECK(contains(message_of([&] { look(&wrong); }, Reason::kPinWrong), "not sent again"));
  message_of([&] { f.w.signs(*f.tpm, key, {nullptr, &wrong}); }, Reason::kPinWrong);
  CHECK(loads() == 0);
  // Nor as that of a key which another one certifies, and is not to blame.
  const tpm2::KeyRef ak = f.w.restricted_key();
  const core::Secret other = secret("another stranger");
  const auto certify = [&](const core::Secret* value) {
    return f.tpm->certify(f.w.caller, ak, {}, key, {nullptr, value}, core::Bytes(16, 1));
  };
  CHECK(contains(message_of([&] { certify(&wrong); }, Reason::kPinWrong), "not sent again"));
  CHECK(loads() == 0);
  CHECK(contains(message_of([&] { certify(&other); }, Reason::kPinWrong),
                 "the auth value of the key's parent (0x81000031) is wrong"));
  CHECK(loads() == 2);
  message_of([&] { look(&other); }, Reason::kPinWrong);
  CHECK(loads() == 0);
  CHECK(!certify(&right).attest.empty());
  look(&right);
  look(&right);
  CHECK(name == key.name);
  loads();
  CHECK(f.w.signs(*f.tpm, key, {nullptr, &right}));
  CHECK(loads() == 0);
}

TEST_CASE("tpm: a salt key that is not the one that was named is refused") {
  Fresh f(false, {kParent, core::Bytes(34, 1)});
  const core::Secret value = secret(kAuth);
  const tpm2::KeyRef key = f.w.key(kSecretKey);
  const std::string text =
      message_of([&] { f.w.signs(*f.tpm, key, {&value}); }, Reason::kKeyChanged);
  CHECK(contains(text, "object=0x81000001"));
  CHECK(contains(text, "parent-name"));
}

TEST_CASE("tpm: a salt key that is not the one that was named, where no session is needed") {
  Fresh f(false, {kParent, core::Bytes(34, 1)});
  const tpm2::KeyRef key = f.w.key(kEcKey);
  const std::string used = message_of([&] { f.w.signs(*f.tpm, key); }, Reason::kKeyChanged);
  CHECK(contains(used, "parent-name"));
  core::KeySpec spec;
  spec.algorithm = core::Algorithm::kEc;
  const TPMT_PUBLIC wanted = tpm2::key_template(spec, core::Digest::kSha256, false).publicArea;
  const std::string made = message_of(
      [&] {
        f.tpm->create(f.w.caller, {kParent, nullptr}, {}, nullptr, wanted);
      },
      Reason::kKeyChanged);
  CHECK(contains(made, "parent-name"));
}

TEST_CASE("tpm: fifty key files on three slots, two of them taken") {
  Fresh f;
  std::vector<tpm2::KeyRef> keys;
  core::KeySpec spec;
  spec.algorithm = core::Algorithm::kEc;
  const TPMT_PUBLIC wanted = tpm2::key_template(spec, core::Digest::kSha256, false).publicArea;
  for (int i = 0; i < 50; ++i) {
    const tpm2::CreatedObject made =
        f.tpm->create(f.w.caller, {kParent, nullptr}, {}, nullptr, wanted);
    auto blob = std::make_shared<tpm2::KeyBlob>();
    blob->public_area = made.public_area;
    blob->private_area = made.private_area;
    blob->parent.handle = kParent;
    keys.push_back(f.w.ref(std::move(blob)));
  }
  f.codes();
  for (int round = 0; round < 2; ++round) {
    for (const tpm2::KeyRef& key : keys) CHECK(f.w.signs(*f.tpm, key));
  }
  CHECK(f.codes().size() == 299);  // Load and Sign, and a flush between
  CHECK(f.w.handles(TPM2_TRANSIENT_FIRST).size() == 1);
}

TEST_CASE("tpm: our own key makes room where a persistent one needs it") {
  Fresh f(false);
  const tpm2::KeyRef mine = f.w.blob(f.w.swtpm.make_key({}));
  const Swtpm::KeyFiles other = f.w.swtpm.make_key({});
  CHECK(f.w.signs(*f.tpm, mine));
  f.w.swtpm.leave_loaded(other);  // loads at once: three slots, ours, and one for the parent
  CHECK(f.w.signs(*f.tpm, f.w.key(kEcKey)));
  f.tpm->quiesce();
  f.w.swtpm.tool({"tpm2_flushcontext", "-t"});
}

TEST_CASE("tpm: slots that others hold: waited for, named, or taken where nobody else can be") {
  World& w = world();
  const tpm2::KeyRef key = w.key(kEcKey);
  // Three objects: each is loaded at once with the help of a slot for its parent, so the last one
  // is a primary.
  const auto fill = [&] {
    const tpm2::Place place;
    tpm2::Connection connection(tpm2::open_tcti(w.swtpm.tcti()));
    tpm2::Commands commands(connection, w.crypto, place);
    for (int i = 0; i < 3; ++i)
      commands.create_primary(TPM2_RH_NULL, {},
                              tpm2::storage_template(tpm2::StorageKey::kP256).publicArea);
  };
  fill();
  {
    const auto tpm = w.tpm();
    const auto begin = std::chrono::steady_clock::now();
    const std::string text = message_of([&] { w.signs(*tpm, key); }, Reason::kSessionLimit);
    const auto took = std::chrono::steady_clock::now() - begin;
    CHECK(took > std::chrono::milliseconds(1900));
    CHECK(took < std::chrono::seconds(5));
    CHECK(contains(text, "TPM_RC_OBJECT_MEMORY (0x902)"));
    CHECK(contains(text, ": other programs hold 0x80000000 0x80000001 0x80000002; "));
    CHECK(contains(text, "tpm2_flushcontext -T " + w.swtpm.tcti() + " -t"));
    int refused = 0;
    w.spy.after = [&](TPM2_CC, core::Bytes&) {
      if (++refused == 3) w.swtpm.tool({"tpm2_flushcontext", "-t"});
      return TSS2_RC_SUCCESS;
    };
    w.spy.take_commands();
    CHECK(w.signs(*tpm, key));
    CHECK(w.spy.take_commands() == Codes(4, TPM2_CC_Sign));
    w.spy.reset();
  }
  fill();
  {
    Fresh f(true);
    CHECK(f.w.signs(*f.tpm, key));
  }
}

TEST_CASE("tpm: sessions that others hold, likewise") {
  World& w = world();
  const tpm2::KeyRef key = w.key(kSecretKey);
  const core::Secret value = secret(kAuth);
  {
    const tpm2::Place place;
    tpm2::Connection connection(tpm2::open_tcti(w.swtpm.tcti()));
    tpm2::Commands commands(connection, w.crypto, place);
    const TPMT_PUBLIC salt = commands.read_public(kParent).public_area;
    for (int i = 0; i < 3; ++i)
      commands.start_session({TPM2_SE_HMAC, TPM2_ALG_SHA256, kParent, &salt});
  }
  const auto tpm = w.tpm();
  const std::string text = message_of([&] { w.signs(*tpm, key, {&value}); }, Reason::kSessionLimit);
  CHECK(contains(text, "TPM_RC_SESSION_MEMORY (0x903)"));
  CHECK(contains(text, "0x2000000 0x2000001 0x2000002"));
  tpm->quiesce();
  Fresh f(true);
  CHECK(f.w.signs(*f.tpm, key, {&value}));
}

TEST_CASE("tpm: eight threads, keys of all kinds") {
  Fresh f;
  const core::Secret value = secret(kAuth);
  const std::vector<tpm2::KeyRef> keys = {f.w.key(kEcKey), f.w.key(kSecretKey),
                                          f.w.blob(f.w.swtpm.make_key({})),
                                          f.w.blob(f.w.swtpm.make_key({}))};
  const int opened = f.w.spy.opened();
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      const core::Secret mine = value.clone();
      for (int i = 0; i < 25; ++i) {
        const std::size_t which = static_cast<std::size_t>(t + i) % keys.size();
        tpm2::KeyAuth auth;
        if (which == 1) auth.value = &mine;
        good += f.w.signs(*f.tpm, keys[which], auth, std::to_string(t * 100 + i)) ? 1 : 0;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(good == 200);
  CHECK(f.w.spy.opened() == opened + 1);
}

TEST_CASE("tpm: a random number, and a restricted key that signs what the TPM hashed") {
  Fresh f;
  CHECK(f.tpm->random(f.w.caller, 20, true).size() == 20);
  const tpm2::KeyRef key = f.w.restricted_key();
  const TPMT_SIG_SCHEME none{TPM2_ALG_NULL, {}};
  for (const std::size_t size :
       {std::size_t{4}, std::size_t{1024}, std::size_t{1025}, std::size_t{5000}}) {
    const std::string text(size, 'm');
    f.codes();
    const auto made =
        f.tpm->sign_message(f.w.caller, key, {}, core::as_bytes(text), TPM2_ALG_SHA256, none);
    CHECK(verifies(f.w.crypto, f.w.areas.at(key.name), sha256(text), made.value));
  }
  CHECK(f.codes() == Codes{TPM2_CC_HashSequenceStart, TPM2_CC_SequenceUpdate,
                           TPM2_CC_SequenceUpdate, TPM2_CC_SequenceUpdate, TPM2_CC_SequenceUpdate,
                           TPM2_CC_SequenceComplete, TPM2_CC_Sign});
  const auto digest_only = [&] { f.tpm->sign(f.w.caller, key, {}, sha256("text"), none); };
  CHECK(contains(message_of(digest_only, Reason::kNotPermitted), "TPM_RC_TICKET"));
}

TEST_CASE("tpm: persist and remove") {
  Fresh f;
  const tpm2::KeyRef key = f.w.blob(f.w.swtpm.make_key({}));
  constexpr TPM2_HANDLE kNew = 0x81000077;
  f.tpm->persist(f.w.caller, key, {}, nullptr, kNew);
  CHECK(f.w.signs(*f.tpm, f.w.key(kNew)));
  CHECK(f.w.key(kNew).name == key.name);
  const auto again = [&] { f.tpm->persist(f.w.caller, key, {}, nullptr, kNew); };
  CHECK(contains(message_of(again, Reason::kExists), "TPM_RC_NV_DEFINED (0x14c)"));
  const auto other = [&] {
    f.tpm->remove_persistent(f.w.caller, kNew, f.w.key(kEcKey).name, nullptr);
  };
  CHECK(contains(message_of(other, Reason::kKeyChanged), "object=0x81000077"));
  f.tpm->remove_persistent(f.w.caller, kNew, key.name, nullptr);
  const auto gone = [&] { f.tpm->read_public(f.w.caller, kNew); };
  CHECK(contains(message_of(gone, Reason::kNoObject), "object=0x81000077"));
}
