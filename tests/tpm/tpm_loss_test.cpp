// What a TPM loses, refuses or mixes up.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "provider/core/process.h"
#include "tests/tpm/world.h"

using namespace hwid;
using namespace hwid::test;
using core::Reason;

namespace {

using Codes = std::vector<TPM2_CC>;

// Runs `body` in a forked child, and says whether it answered true. `body` may also end it by
// exit().
bool in_child(const std::function<bool()>& body) {
  const pid_t pid = fork();
  if (pid == 0) {
    bool good = false;
    try {
      good = body();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "child: %s\n", error.what());
    }
    _exit(good ? 0 : 1);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

core::Lockout lockout() { return OtherProgram().commands.lockout(); }

// A key whose wrong auth values count.
tpm2::KeyRef counted_key(TPM2_HANDLE handle, std::string_view auth) {
  Swtpm::KeyOptions options;
  options.attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign";
  options.auth = auth;
  world().swtpm.make_key(options, tpm2::hex(handle));
  return world().key(handle);
}

void forgive() { world().swtpm.tool({"tpm2_dictionarylockout", "-c"}); }

}  // namespace

TEST_CASE("tpm: restarted between two uses, everything goes on") {
  World& w = world();
  const auto tpm = w.tpm();
  const core::Secret value = secret(kAuth);
  const tpm2::KeyRef persistent = w.key(kEcKey);
  const tpm2::KeyRef with_auth = w.key(kSecretKey);
  const tpm2::KeyRef blob = w.blob(w.swtpm.make_key({}));
  Swtpm::KeyOptions options;
  options.auth = kAuth;
  const tpm2::KeyRef both = w.blob(w.swtpm.make_key(options));
  const auto all = [&] {
    return w.signs(*tpm, persistent) && w.signs(*tpm, with_auth, {&value}) && w.signs(*tpm, blob) &&
           w.signs(*tpm, both, {&value}) && w.signs(*tpm, both, {&value});
  };
  CHECK(all());
  w.swtpm.restart();
  CHECK(all());
  w.swtpm.restart();
  CHECK(w.signs(*tpm, both, {&value}));  // both the key and the session are lost
  w.swtpm.stop();
  const std::string down = message_of([&] { w.signs(*tpm, blob); }, Reason::kNoToken);
  CHECK(contains(down, "no TPM answers there"));
  w.swtpm.start();
  CHECK(all());
  tpm->quiesce();
}

TEST_CASE("tpm: the connection breaks in the middle of a command") {
  World& w = world();
  const auto tpm = w.tpm();
  const tpm2::KeyRef key = w.key(kEcKey);
  CHECK(w.signs(*tpm, key));
  const int opened = w.spy.opened();
  int left = 1;
  w.spy.before = [&](TPM2_CC) -> TSS2_RC {
    return left-- > 0 ? TSS2_TCTI_RC_IO_ERROR : TSS2_RC_SUCCESS;
  };
  CHECK(w.signs(*tpm, key));
  CHECK(w.spy.opened() == opened + 1);
  left = 2;  // once more is all that is tried
  const std::string text = message_of([&] { w.signs(*tpm, key); }, Reason::kTokenRemoved);
  CHECK(contains(text, "TPM2_Sign: TSS2_TCTI_RC_IO_ERROR (0xa000a)"));
  CHECK(contains(text, "object=0x81000002"));
  CHECK(w.signs(*tpm, key));
  w.spy.reset();
}

TEST_CASE("tpm: our key was flushed by another program") {
  World& w = world();
  const auto tpm = w.tpm();
  const tpm2::KeyRef key = w.blob(w.swtpm.make_key({}));
  CHECK(w.signs(*tpm, key));
  OtherProgram().flush_all();
  w.spy.take_commands();
  CHECK(w.signs(*tpm, key));
  CHECK(w.spy.take_commands() == Codes{TPM2_CC_Sign, TPM2_CC_Load, TPM2_CC_Sign});
  tpm->quiesce();
}

TEST_CASE("tpm: another program flushes our key and what hashes the message for it") {
  World& w = world();
  const auto tpm = w.tpm();
  const tpm2::KeyRef key = w.restricted_key();
  const std::string text(3000, 'm');
  bool flushed = false;
  w.spy.before = [&](TPM2_CC code) -> TSS2_RC {
    if (code == TPM2_CC_SequenceUpdate && !std::exchange(flushed, true)) OtherProgram().flush_all();
    return TSS2_RC_SUCCESS;
  };
  const auto made = tpm->sign_message(w.caller, key, {}, core::as_bytes(text), TPM2_ALG_SHA256,
                                      {TPM2_ALG_NULL, {}});
  w.spy.reset();
  CHECK(flushed);
  CHECK(verifies(w.crypto, w.areas.at(key.name), sha256(text), made.value));
  tpm->quiesce();
  CHECK(w.handles(TPM2_TRANSIENT_FIRST).empty());
}

TEST_CASE("tpm: another key sits at our handle: seen by its generation, or by its name") {
  World& w = world();
  const core::Secret value = secret(kAuth);
  const core::Secret other_value = secret("another");
  Swtpm::KeyOptions options;
  const tpm2::KeyRef plain = w.blob(w.swtpm.make_key(options));
  const tpm2::KeyRef plain_other = w.blob(w.swtpm.make_key(options));
  options.auth = kAuth;
  const tpm2::KeyRef with_auth = w.blob(w.swtpm.make_key(options));
  options.auth = "another";
  const tpm2::KeyRef with_other = w.blob(w.swtpm.make_key(options));
  OtherProgram other;
  {
    const auto tpm = w.tpm();
    const auto first = tpm->sign(w.caller, plain, {}, sha256("text"), scheme(TPM2_ALG_ECDSA));
    const auto same = tpm->sign(w.caller, plain, {}, sha256("text"), scheme(TPM2_ALG_ECDSA));
    CHECK(first.generation == same.generation);
    other.flush_all();
    other.load(plain_other);
    const auto wrong = tpm->sign(w.caller, plain, {}, sha256("text"), scheme(TPM2_ALG_ECDSA));
    CHECK_FALSE(verifies(w.crypto, w.areas.at(plain.name), sha256("text"), wrong.value));
    tpm->distrust(wrong.generation);
    const auto right = tpm->sign(w.caller, plain, {}, sha256("text"), scheme(TPM2_ALG_ECDSA));
    CHECK(right.generation > wrong.generation);
    CHECK(verifies(w.crypto, w.areas.at(plain.name), sha256("text"), right.value));
    tpm->quiesce();
    other.flush_all();
  }
  {
    const auto tpm = w.tpm();
    CHECK(w.signs(*tpm, with_auth, {&value}));
    other.flush_all();
    other.load(with_other);
    w.spy.take_commands();
    CHECK(w.signs(*tpm, with_auth, {&value}));  // refused, name compared, loaded again
    CHECK(w.spy.take_commands() ==
          Codes{TPM2_CC_Sign, TPM2_CC_ReadPublic, TPM2_CC_Load, TPM2_CC_Sign});
    tpm->quiesce();
    other.flush_all();
  }
}

TEST_CASE("tpm: another key sits at a persistent handle") {
  World& w = world();
  const auto tpm = w.tpm();
  const core::Secret value = secret(kAuth);
  Swtpm::KeyOptions options;
  options.auth = kAuth;
  w.swtpm.make_key(options, "0x81000010");
  const tpm2::KeyRef key = w.key(0x81000010);
  CHECK(w.signs(*tpm, key, {&value}));
  w.swtpm.remove("0x81000010");
  CHECK(contains(message_of([&] { w.signs(*tpm, key, {&value}); }, Reason::kNoObject),
                 "TPM_RC_HANDLE (0x18b, handle 1)"));
  w.swtpm.make_key(options, "0x81000010");
  CHECK(contains(message_of([&] { w.signs(*tpm, key, {&value}); }, Reason::kKeyChanged),
                 "another key sits at 0x81000010 now"));
  CHECK(w.signs(*tpm, w.key(0x81000010), {&value}));  // and the value was not blamed
  w.swtpm.remove("0x81000010");
  tpm->quiesce();
}

TEST_CASE("tpm: a session that is not ours any more is started anew, and no value is blamed") {
  World& w = world();
  const auto tpm = w.tpm(false, {kParent, {}});
  const core::Secret value = secret(kAuth);
  const tpm2::KeyRef key = counted_key(0x81000011, kAuth);
  CHECK(w.signs(*tpm, key, {&value}));
  const auto failures = lockout().failures;
  OtherProgram other;
  for (const TPM2_HANDLE handle : other.commands.handles(TPM2_LOADED_SESSION_FIRST))
    other.commands.flush(handle);
  const TPMT_PUBLIC salt = other.commands.read_public(kParent).public_area;
  const tpm2::AuthSession theirs =  // the same handle
      other.commands.start_session({TPM2_SE_HMAC, TPM2_ALG_SHA256, kParent, &salt});
  CHECK(w.signs(*tpm, key, {&value}));
  CHECK(lockout().failures <= failures + 1);  // the TPM counted what we could not know
  other.commands.flush(theirs.handle);
  tpm->quiesce();
  w.swtpm.remove("0x81000011");
  forgive();
}

TEST_CASE("tpm: a wrong auth value is tried once, by all processes together") {
  World& w = world();
  forgive();
  const tpm2::KeyRef key = counted_key(0x81000012, kAuth);
  const core::Secret wrong = secret("wrong");
  const core::Secret value = secret(kAuth);
  const auto tpm = w.tpm();
  const auto sign = [&](const core::Secret* with) { w.signs(*tpm, key, {with}); };
  const std::string first = message_of([&] { sign(&wrong); }, Reason::kPinWrong);
  CHECK(contains(first, "TPM2_Sign: TPM_RC_AUTH_FAIL (0x98e) tpm=" + w.swtpm.tcti() +
                            " object=0x81000012: the auth value is wrong"));
  CHECK(contains(first, "(1 of 3 failures count; one is forgiven after 1000 seconds)"));
  w.spy.take_commands();
  CHECK(contains(message_of([&] { sign(&wrong); }, Reason::kPinWrong), "not sent again"));
  CHECK(w.spy.take_commands().empty());
  CHECK(in_child([&] {
    try {
      sign(&wrong);
    } catch (const core::Error& error) {
      return error.reason == Reason::kPinWrong && w.spy.take_commands().empty();
    }
    return false;
  }));
  CHECK(lockout().failures == 1);
  CHECK(w.signs(*tpm, key, {&value}));
  // No value at all counts, too.
  const auto fresh = w.tpm();
  const auto without = [&] { w.signs(*fresh, key); };
  CHECK(contains(message_of(without, Reason::kPinMissing),
                 "TPM2_Sign: TPM_RC_AUTH_FAIL (0x98e) tpm=" + w.swtpm.tcti() +
                     " object=0x81000012: the key needs an auth value, and none was given; "));
  CHECK(contains(message_of(without, Reason::kPinMissing), "pin-source"));
  CHECK(lockout().failures == 2);
  forgive();
  tpm->quiesce();
  fresh->quiesce();
  w.swtpm.remove("0x81000012");
}

TEST_CASE("tpm: a wrong auth value is tried once, also after and before the right one") {
  World& w = world();
  forgive();
  const tpm2::KeyRef key = counted_key(0x81000013, kAuth);
  const core::Secret wrong = secret("wrong");
  const core::Secret value = secret(kAuth);
  const auto tpm = w.tpm();
  for (int time = 0; time < 3; ++time) {
    CHECK(w.signs(*tpm, key, {&value}));
    message_of([&] { w.signs(*tpm, key, {&wrong}); }, Reason::kPinWrong);
    message_of([&] { w.signs(*tpm, key); }, Reason::kPinMissing);  // an empty value is one, too
  }
  CHECK(lockout().failures == 2);
  CHECK(w.signs(*tpm, key, {&value}));
  tpm->quiesce();
  w.swtpm.remove("0x81000013");
  forgive();
}

TEST_CASE("tpm: a wrong auth value is tried once where the connection breaks after it") {
  World& w = world();
  const core::Secret wrong = secret("wrong");
  for (const TPM2_CC breaks : {TPM2_CC_ReadPublic, TPM2_CC_GetRandom, TPM2_CC_GetCapability}) {
    CAPTURE(breaks);
    forgive();
    const tpm2::KeyRef key = counted_key(0x81000014, kAuth);
    const auto tpm = w.tpm();
    w.spy.before = [&](TPM2_CC code) -> TSS2_RC {
      return code == breaks ? TSS2_TCTI_RC_IO_ERROR : TSS2_RC_SUCCESS;
    };
    message_of([&] { w.signs(*tpm, key, {&wrong}); }, Reason::kPinWrong);
    w.spy.reset();
    CHECK(lockout().failures == 1);
    tpm->quiesce();
    w.swtpm.remove("0x81000014");
  }
  forgive();
}

TEST_CASE("tpm: in lockout the text says how long, and keys with noDA go on") {
  World& w = world();
  forgive();
  const tpm2::KeyRef key = counted_key(0x81000013, kAuth);
  const auto tpm = w.tpm();
  for (int i = 0; i < 3; ++i) {
    const core::Secret wrong = secret("wrong " + std::to_string(i));
    message_of([&] { w.signs(*tpm, key, {&wrong}); }, Reason::kPinWrong);
  }
  const core::Secret value = secret(kAuth);
  const std::string text = message_of([&] { w.signs(*tpm, key, {&value}); }, Reason::kPinLocked);
  CHECK(contains(text, "TPM_RC_LOCKOUT (0x921)"));
  CHECK(contains(text, "3 of 3 failures count; one is forgiven after 1000 seconds"));
  CHECK(w.signs(*tpm, w.key(kEcKey)));
  const core::Secret other = secret(kAuth);
  CHECK(w.signs(*tpm, w.key(kSecretKey), {&other}));
  forgive();
  CHECK(w.signs(*tpm, key, {&value}));
  tpm->quiesce();
  w.swtpm.remove("0x81000013");
}

TEST_CASE("tpm: parent and forked child go on, each by itself") {
  World& w = world();
  const auto tpm = w.tpm();
  const core::Secret value = secret(kAuth);
  const tpm2::KeyRef blob = w.blob(w.swtpm.make_key({}));
  const tpm2::KeyRef with_auth = w.key(kSecretKey);
  CHECK(w.signs(*tpm, blob));
  CHECK(w.signs(*tpm, with_auth, {&value}));
  const std::vector<TPM2_HANDLE> ours = w.handles(TPM2_TRANSIENT_FIRST);
  const auto generation =
      tpm->sign(w.caller, blob, {}, sha256("text"), scheme(TPM2_ALG_ECDSA)).generation;
  const auto sign_all = [&] {
    bool good = true;
    for (int i = 0; i < 20; ++i)
      good = w.signs(*tpm, with_auth, {&value}) && w.signs(*tpm, blob) && good;
    return good;
  };
  const pid_t pid = fork();
  if (pid == 0) {
    bool good = false;
    try {
      good = tpm->sign(w.caller, blob, {}, sha256("text"), scheme(TPM2_ALG_ECDSA)).generation >
                 generation &&
             sign_all();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "child: %s\n", error.what());
    }
    tpm->quiesce();
    _exit(good ? 0 : 1);
  }
  CHECK(sign_all());
  int status = 0;
  waitpid(pid, &status, 0);
  CHECK(status == 0);
  CHECK(w.handles(TPM2_TRANSIENT_FIRST) == ours);
  w.spy.take_commands();
  CHECK(w.signs(*tpm, blob));
  CHECK(w.spy.take_commands() == Codes{TPM2_CC_Sign});  // still loaded
  CHECK(in_child([&] {
    tpm->quiesce();  // touches nothing of the parent's
    return w.spy.take_commands().empty();
  }));
  CHECK(w.signs(*tpm, blob));
  tpm->quiesce();
  CHECK(w.handles(TPM2_TRANSIENT_FIRST).empty());
}

TEST_CASE("tpm: nothing of ours is left when the process exits") {
  World& w = world();
  const core::Secret value = secret(kAuth);
  const tpm2::KeyRef blob = w.blob(w.swtpm.make_key({}));
  const tpm2::KeyRef with_auth = w.key(kSecretKey);
  const pid_t pid = fork();
  if (pid == 0) {
    static bool good = false;
    // After the TPM's own exit hook, which is registered later, and before the destructors that
    // would end the parent's swtpm.
    std::atexit([] { _exit(good ? 0 : 1); });
    const auto tpm = w.tpm();
    good = w.signs(*tpm, blob) && w.signs(*tpm, with_auth, {&value}) &&
           w.handles(TPM2_TRANSIENT_FIRST).size() == 1 &&
           w.handles(TPM2_LOADED_SESSION_FIRST).size() == 1;
    std::exit(1);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  CHECK(status == 0);
  CHECK(w.handles(TPM2_TRANSIENT_FIRST).empty());
  CHECK(w.handles(TPM2_LOADED_SESSION_FIRST).empty());
}

TEST_CASE("tpm: a child closes the device that it inherited, and no other file") {
  World& w = world();
  const tpm2::KeyRef key = w.key(kEcKey);
  const auto is_open_in_child = [&](bool replaced) {
    w.spy.descriptor = open("/dev/null", O_RDWR);
    const auto tpm = w.tpm();
    CHECK(w.signs(*tpm, key));
    const int inherited = std::exchange(w.spy.descriptor, -1);
    const bool open_there = in_child([&] {
      if (replaced) {
        const int other = open("/dev/zero", O_RDWR);
        dup2(other, inherited);
      }
      return w.signs(*tpm, key) && fcntl(inherited, F_GETFD) >= 0;
    });
    tpm->quiesce();
    close(inherited);
    return open_there;
  };
  CHECK_FALSE(is_open_in_child(false));
  CHECK(is_open_in_child(true));
}

TEST_CASE("tpm: one object a TCTI in the process, which touches nothing by itself") {
  tpm2::TpmSetup setup;
  setup.tcti = "swtpm:host=127.0.0.1,port=1";
  const auto tpm = tpm2::Tpm::get(setup);
  CHECK(tpm == tpm2::Tpm::get(setup));
  setup.tcti = "swtpm:host=127.0.0.1,port=2";
  CHECK(tpm != tpm2::Tpm::get(setup));
}

TEST_CASE("tpm: another TPM in its place") {
  World& w = world();
  const auto tpm = w.tpm();
  const tpm2::KeyRef blob = w.blob(w.swtpm.make_key({}));
  CHECK(w.signs(*tpm, blob));
  w.swtpm.wipe();
  CHECK(contains(message_of([&] { w.signs(*tpm, blob); }, Reason::kNoObject), "TPM_RC_HANDLE"));
  w.swtpm.make_parent("0x81000001");
  const std::string text = message_of([&] { w.signs(*tpm, blob); }, Reason::kNoObject);
  CHECK(contains(text, "TPM2_Load: TPM_RC_INTEGRITY (0x1df, parameter 1)"));
  CHECK(contains(text, "made on this TPM"));
  tpm->quiesce();
}
