// Policy sessions: what a TPM loses, refuses or mixes up, and what is asked of it.
#include "provider/tpm2/policy.h"

#include <sys/wait.h>
#include <unistd.h>

#include "provider/tpm2/policy_conf.h"
#include "tests/fixture/command.h"
#include "tests/tpm/world.h"

using namespace hwid;
using namespace hwid::test;
using core::Reason;

namespace {

using Codes = std::vector<TPM2_CC>;

std::shared_ptr<tpm2::KeyPolicy> policy_of(std::vector<tpm2::Policy> alternatives) {
  auto made = std::make_shared<tpm2::KeyPolicy>();
  made->alternatives = std::move(alternatives);
  made->origin = "policy test";
  return made;
}

tpm2::PcrStatement pcr_16() {
  tpm2::PcrStatement statement;
  statement.pcrs = tpm2::parse_pcrs("sha256:16").value().selection;
  const tpm2::Place place;
  tpm2::Connection connection(tpm2::open_tcti(world().swtpm.tcti()));
  statement.values = tpm2::Commands(connection, world().crypto, place).pcr_read(statement.pcrs);
  return statement;
}

constexpr const char* kAttests = "sign|restricted";

// A key that tpm2-tools made for the digest that we compute.
tpm2::KeyRef key_for(const std::shared_ptr<tpm2::KeyPolicy>& policy, const std::string& auth = {},
                     const std::string& use = "sign|decrypt") {
  World& w = world();
  const core::Bytes digest =
      tpm2::policy_digest(w.crypto, TPM2_ALG_SHA256, policy->alternatives.front()).value();
  static int files = 0;
  const std::string stem = w.swtpm.directory().file("policy-" + std::to_string(++files));
  write_file(stem + ".policy", std::string(digest.begin(), digest.end()));
  std::vector<std::string> words = {
      "tpm2_create", "-Q",
      "-C",          "0x81000001",
      "-G",          use == kAttests ? "ecc256:ecdsa-sha256:null" : "ecc256",
      "-L",          stem + ".policy",
      "-u",          stem + ".pub",
      "-r",          stem + ".priv",
      "-a",          "fixedtpm|fixedparent|sensitivedataorigin|noda|" + use};
  if (!auth.empty()) words.insert(words.end(), {"-p", auth});
  w.swtpm.tool(words);
  tpm2::KeyRef key = w.blob({stem + ".pub", stem + ".priv"});
  key.policy = policy;
  return key;
}

tpm2::KeyAuth auth_of(const tpm2::KeyRef& key, const core::Secret* value = nullptr,
                      bool protect = false) {
  return {value, nullptr, protect, key.policy.get()};
}

std::vector<TPM2_HANDLE> sessions() { return world().handles(TPM2_LOADED_SESSION_FIRST); }

void flush_sessions() {
  for (const TPM2_HANDLE handle : sessions()) OtherProgram().commands.flush(handle);
}

}  // namespace

TEST_CASE("policy: a session a process, and a command for each statement") {
  World& w = world();
  const auto tpm = w.tpm();
  const auto before = sessions();
  const tpm2::KeyRef pcr = key_for(policy_of({{{pcr_16()}}}));
  const tpm2::KeyRef both =
      key_for(policy_of({{{pcr_16(), tpm2::AuthValueStatement{}}}}), std::string(kAuth));
  const core::Secret value = secret(kAuth);
  w.spy.take_commands();
  CHECK(w.signs(*tpm, pcr, auth_of(pcr)));
  CHECK(w.spy.take_commands() ==
        Codes{TPM2_CC_StartAuthSession, TPM2_CC_Load, TPM2_CC_PolicyPCR, TPM2_CC_Sign});
  CHECK(w.signs(*tpm, pcr, auth_of(pcr)));
  CHECK(w.spy.take_commands() == Codes{TPM2_CC_PolicyPCR, TPM2_CC_Sign});
  // A salted one takes its place, and serves both from then on.
  CHECK(w.signs(*tpm, both, auth_of(both, &value)));
  CHECK(w.spy.take_commands() == Codes{TPM2_CC_FlushContext, TPM2_CC_ReadPublic,
                                       TPM2_CC_StartAuthSession, TPM2_CC_FlushContext, TPM2_CC_Load,
                                       TPM2_CC_PolicyPCR, TPM2_CC_PolicyAuthValue, TPM2_CC_Sign});
  CHECK(w.signs(*tpm, both, auth_of(both, &value)));
  CHECK(w.spy.take_commands() == Codes{TPM2_CC_PolicyPCR, TPM2_CC_PolicyAuthValue, TPM2_CC_Sign});
  CHECK(w.signs(*tpm, pcr, auth_of(pcr)));
  CHECK(w.spy.take_commands() ==
        Codes{TPM2_CC_FlushContext, TPM2_CC_Load, TPM2_CC_PolicyPCR, TPM2_CC_Sign});
  // The other session protects besides.
  CHECK(w.signs(*tpm, both, auth_of(both, &value, true)));
  w.spy.take_commands();
  CHECK(w.signs(*tpm, both, auth_of(both, &value, true)));
  CHECK(w.spy.take_commands() == Codes{TPM2_CC_PolicyPCR, TPM2_CC_PolicyAuthValue, TPM2_CC_Sign});
  CHECK_FALSE(w.spy.saw(core::as_bytes(kAuth)));
  tpm->quiesce();
  CHECK(sessions() == before);
}

TEST_CASE("policy: what is agreed on is hidden by the other session, without the auth value") {
  World& w = world();
  const auto tpm = w.tpm();
  // It has an auth value, which its policy does not ask for.
  const tpm2::KeyRef key = key_for(policy_of({{{pcr_16()}}}), "not-asked-for");
  const TPMT_PUBLIC& area = w.areas.at(key.name);
  const auto plain = tpm->ecdh_zgen(w.caller, key, auth_of(key), area.unique.ecc);
  w.spy.take_commands();
  const auto hidden = tpm->ecdh_zgen(w.caller, key, auth_of(key, nullptr, true), area.unique.ecc);
  CHECK(std::ranges::equal(plain.value.reveal(), hidden.value.reveal()));
  const auto again = tpm->ecdh_zgen(w.caller, key, auth_of(key, nullptr, true), area.unique.ecc);
  CHECK(std::ranges::equal(plain.value.reveal(), again.value.reveal()));
  tpm->quiesce();
}

TEST_CASE("policy: a restart, a lost connection, and a session that somebody flushed") {
  World& w = world();
  const auto tpm = w.tpm();
  const tpm2::KeyRef key =
      key_for(policy_of({{{pcr_16(), tpm2::AuthValueStatement{}}}}), std::string(kAuth));
  const core::Secret value = secret(kAuth);
  bool protect = true;
  const auto signs = [&] { return w.signs(*tpm, key, auth_of(key, &value, protect)); };
  CHECK(signs());
  w.swtpm.restart();
  CHECK(signs());
  {
    flush_sessions();
    CHECK(signs());
    OtherProgram().flush_all();
    CHECK(signs());
  }
  tpm->quiesce();
  protect = false;  // what is left behind by a connection that breaks takes its place in the TPM
  for (const TPM2_CC at : {TPM2_CC_PolicyPCR, TPM2_CC_PolicyAuthValue, TPM2_CC_Sign}) {
    CAPTURE(at);
    bool broken = false;
    w.spy.before = [&](TPM2_CC code) -> TSS2_RC {
      return code == at && !std::exchange(broken, true) ? TSS2_TCTI_RC_IO_ERROR : TSS2_RC_SUCCESS;
    };
    CHECK(signs());
    CHECK(broken);
    w.spy.reset();
    tpm->quiesce();
    flush_sessions();
    OtherProgram().flush_all();
  }
  protect = true;
  CHECK(signs());
  CHECK(sessions().size() == 2);
  CHECK(signs());
  CHECK(sessions().size() == 2);
  tpm->quiesce();
}

TEST_CASE("policy: another program's session has the number of ours") {
  World& w = world();
  const tpm2::SessionKind unsalted{TPM2_SE_POLICY};
  const core::Secret value = secret(kAuth);
  const tpm2::KeyRef plain = key_for(policy_of({{{pcr_16()}}}));
  const tpm2::KeyRef with_value =
      key_for(policy_of({{{tpm2::AuthValueStatement{}}}}), std::string(kAuth));
  OtherProgram other;
  const TPMT_PUBLIC salt = other.commands.read_public(kParent).public_area;
  const tpm2::SessionKind salted{TPM2_SE_POLICY, TPM2_ALG_SHA256, kParent, &salt};
  for (const tpm2::SessionKind& theirs : {unsalted, salted}) {
    for (const bool has_value : {false, true}) {
      CAPTURE(theirs.salt_key);
      CAPTURE(has_value);
      const auto tpm = w.tpm();
      const tpm2::KeyRef& key = has_value ? with_value : plain;
      const tpm2::KeyAuth auth = auth_of(key, has_value ? &value : nullptr);
      CHECK(w.signs(*tpm, key, auth));
      flush_sessions();
      const tpm2::AuthSession session = other.commands.start_session(theirs);
      CHECK(w.signs(*tpm, key, auth));
      CHECK(w.signs(*tpm, key, auth));
      other.commands.flush(session.handle);
      tpm->quiesce();
    }
  }
}

TEST_CASE("policy: its session is salted by the key of the pinned name, or not at all") {
  World& w = world();
  const tpm2::KeyRef key = key_for(policy_of({{{tpm2::AuthValueStatement{}}}}), std::string(kAuth));
  const core::Secret value = secret(kAuth);
  const auto other = w.tpm(false, {kParent, core::Bytes(34, 7)});
  w.spy.take_commands();
  const std::string text =
      message_of([&] { w.signs(*other, key, auth_of(key, &value)); }, Reason::kKeyChanged);
  CHECK(contains(text, "parent-name"));
  CHECK(w.spy.take_commands() == Codes{TPM2_CC_ReadPublic});
  const auto pinned = w.tpm(false, {kParent, w.key(kParent).name});
  CHECK(w.signs(*pinned, key, auth_of(key, &value)));
  pinned->quiesce();
}

namespace {

// Somebody on the bus, who changes the answer to `command`: what they change is found out.
void check_protected(TPM2_CC command, const std::function<void()>& use) {
  Spy& spy = world().spy;
  bool changed = false;
  spy.after = [&](TPM2_CC code, core::Bytes& answer) {
    constexpr std::size_t kInParameters = 30;  // past the header and the sizes
    if (code == command) answer.at(kInParameters) ^= 1, changed = true;
    return TSS2_RC_SUCCESS;
  };
  const std::string text = message_of(use, Reason::kDeviceError);
  CHECK(changed);
  CHECK_MESSAGE(contains(text, "the answer does not come from the TPM"), text);
  spy.reset();
}

}  // namespace

TEST_CASE("policy: with parent-name its session protects also where it asks for no value") {
  World& w = world();
  const tpm2::KeyRef key = key_for(policy_of({{{pcr_16()}}}));
  const auto pinned = w.tpm(false, {kParent, w.key(kParent).name});
  w.spy.take_commands();
  CHECK(w.signs(*pinned, key, auth_of(key)));
  CHECK(w.spy.take_commands() == Codes{TPM2_CC_ReadPublic, TPM2_CC_StartAuthSession, TPM2_CC_Load,
                                       TPM2_CC_PolicyPCR, TPM2_CC_Sign});
  CHECK(w.signs(*pinned, key, auth_of(key)));
  CHECK(w.spy.take_commands() == Codes{TPM2_CC_PolicyPCR, TPM2_CC_Sign});
  check_protected(TPM2_CC_Sign, [&] { w.signs(*pinned, key, auth_of(key)); });
  CHECK(w.signs(*pinned, key, auth_of(key)));
  pinned->quiesce();
}

TEST_CASE("policy: what an attestation key certifies is protected by the other session") {
  World& w = world();
  const auto tpm = w.tpm();
  const tpm2::KeyRef attests = key_for(policy_of({{{pcr_16()}}}), {}, kAttests);
  const tpm2::KeyRef plain = w.key(kEcKey);
  const tpm2::KeyRef with_value = w.key(kSecretKey);
  const core::Secret value = secret(kAuth);
  const core::Bytes nonce(16, 0x5a);
  const auto certify = [&](const tpm2::KeyRef& object, const tpm2::KeyAuth& object_auth) {
    return tpm->certify(w.caller, attests, auth_of(attests, nullptr, true), object, object_auth,
                        nonce);
  };
  CHECK_FALSE(certify(with_value, {&value, nullptr, true}).attest.empty());  // three sessions
  w.spy.take_commands();
  CHECK_FALSE(certify(plain, {nullptr, nullptr, true}).attest.empty());
  CHECK(w.spy.take_commands() == Codes{TPM2_CC_PolicyPCR, TPM2_CC_Certify});
  check_protected(TPM2_CC_Certify, [&] { certify(plain, {nullptr, nullptr, true}); });
  tpm->quiesce();
}

TEST_CASE("policy: a command that failed does not spoil the next one") {
  World& w = world();
  const auto tpm = w.tpm();
  const tpm2::KeyRef key = key_for(policy_of({{{tpm2::AuthValueStatement{}}}}), std::string(kAuth));
  const core::Secret value = secret(kAuth);
  const core::Secret wrong = secret("wrong");
  CHECK(w.signs(*tpm, key, auth_of(key, &value)));
  const std::string text =
      message_of([&] { w.signs(*tpm, key, auth_of(key, &wrong)); }, Reason::kPinWrong);
  CHECK(contains(text, "TPM_RC_BAD_AUTH"));
  w.spy.take_commands();
  const std::string again =
      message_of([&] { w.signs(*tpm, key, auth_of(key, &wrong)); }, Reason::kPinWrong);
  CHECK(contains(again, "not sent again"));
  CHECK(w.spy.take_commands().empty());
  CHECK(w.signs(*tpm, key, auth_of(key, &value)));
  CHECK(w.spy.take_commands() ==
        Codes{TPM2_CC_PolicyRestart, TPM2_CC_PolicyAuthValue, TPM2_CC_Sign});
  tpm->quiesce();
}

TEST_CASE("policy: a PCR that changes between policy and signature is looked at once more") {
  World& w = world();
  const auto tpm = w.tpm();
  tpm2::PcrStatement statement = pcr_16();
  const tpm2::KeyRef key = key_for(policy_of({{{statement}}}));
  CHECK(w.signs(*tpm, key, auth_of(key)));
  w.spy.take_commands();
  int changes = 1;
  w.spy.instead = [&](TPM2_CC code) -> std::optional<core::Bytes> {
    if (code != TPM2_CC_Sign || changes-- <= 0) return std::nullopt;
    return core::Bytes{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x28};  // TPM_RC_PCR_CHANGED
  };
  CHECK(w.signs(*tpm, key, auth_of(key)));
  CHECK(w.spy.take_commands() == Codes{TPM2_CC_PolicyPCR, TPM2_CC_Sign, TPM2_CC_PolicyRestart,
                                       TPM2_CC_PolicyPCR, TPM2_CC_Sign});
  changes = 2;
  CHECK(contains(message_of([&] { w.signs(*tpm, key, auth_of(key)); }, Reason::kDeviceError),
                 "TPM_RC_PCR_CHANGED"));
  w.spy.reset();
  w.swtpm.tool({"tpm2_pcrextend", "16:sha256=" + std::string(64, '1')});
  w.spy.take_commands();
  const std::string text =
      message_of([&] { w.signs(*tpm, key, auth_of(key)); }, Reason::kNotPermitted);
  CHECK(contains(text, "TPM2_PolicyPCR: TPM_RC_VALUE"));
  CHECK(contains(text, "PCR 16 of bank sha256 is "));
  CHECK(contains(text, " and the policy wants " + core::to_hex(statement.values[0].value)));
  tpm->quiesce();
}

TEST_CASE("policy: of several the one that holds is tried first the next time") {
  World& w = world();
  const auto tpm = w.tpm();
  tpm2::PcrStatement other = pcr_16();
  other.values[0].value.assign(32, 7);
  tpm2::OrStatement one_of;
  one_of.branches = {{{other}}, {{tpm2::AuthValueStatement{}}}, {{pcr_16()}}};
  const tpm2::KeyRef key = key_for(policy_of({{{one_of}}}), std::string(kAuth));
  CHECK(w.signs(*tpm, key, auth_of(key)));
  w.spy.take_commands();
  CHECK(w.signs(*tpm, key, auth_of(key)));
  CHECK(w.spy.take_commands() == Codes{TPM2_CC_PolicyPCR, TPM2_CC_PolicyOR, TPM2_CC_Sign});
  // Where none is left but the one that asks for a value, and there is none, nothing is tried.
  w.swtpm.tool({"tpm2_pcrextend", "16:sha256=" + std::string(64, '2')});
  const std::string text =
      message_of([&] { w.signs(*tpm, key, auth_of(key)); }, Reason::kNotPermitted);
  CHECK(contains(text, "PCR 16"));
  const core::Secret value = secret(kAuth);
  CHECK(w.signs(*tpm, key, auth_of(key, &value)));
  tpm->quiesce();
}

TEST_CASE("policy: only the command that is allowed is sent") {
  World& w = world();
  const auto tpm = w.tpm();
  const tpm2::KeyRef key = key_for(policy_of({{{tpm2::CommandStatement{TPM2_CC_Sign}}}}));
  CHECK(w.signs(*tpm, key, auth_of(key)));
  w.spy.take_commands();
  const TPMT_PUBLIC& area = w.areas.at(key.name);
  const std::string text = message_of(
      [&] { tpm->ecdh_zgen(w.caller, key, auth_of(key), area.unique.ecc); }, Reason::kNotPermitted);
  CHECK(contains(text, "TPM2_ECDH_ZGen:"));
  CHECK(contains(text, "policy test allows the key another command only"));
  CHECK(w.spy.take_commands().empty());
  tpm->quiesce();
}

TEST_CASE("policy: who signs stays loaded where the key takes no slot") {
  World& w = world();
  const std::string stem = w.swtpm.directory().file("signer");
  run_checked(
      {"openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", stem + ".pem"});
  run_checked({"openssl", "pkey", "-in", stem + ".pem", "-pubout", "-out", stem + ".pub"});
  write_file(stem + ".message", std::string(4, '\0'));
  run_checked({"openssl", "dgst", "-sha256", "-sign", stem + ".pem", "-out", stem + ".signature",
               stem + ".message"});
  const std::string pem = read_file(stem + ".pub");
  const std::string signature = read_file(stem + ".signature");
  tpm2::SignedStatement statement;
  statement.signer.key = tpm2::parse_signer(w.crypto, core::as_bytes(pem)).value();
  statement.signer.signature =
      tpm2::parse_signature(statement.signer.key.publicArea, core::as_bytes(signature)).value();
  const auto tpm = w.tpm();
  tpm2::KeyRef key = key_for(policy_of({{{statement}}}));
  CHECK(w.signs(*tpm, key, auth_of(key)));
  w.spy.take_commands();
  CHECK(w.signs(*tpm, key, auth_of(key)));
  CHECK(w.spy.take_commands() ==
        Codes{TPM2_CC_LoadExternal, TPM2_CC_PolicySigned, TPM2_CC_FlushContext, TPM2_CC_Sign});
  tpm->persist(w.caller, key, {}, nullptr, 0x81000031);
  const tpm2::KeyRef there{0x81000031, nullptr, key.name, {}, key.policy};
  CHECK(w.signs(*tpm, there, auth_of(there)));
  w.spy.take_commands();
  CHECK(w.signs(*tpm, there, auth_of(there)));
  CHECK(w.spy.take_commands() == Codes{TPM2_CC_PolicySigned, TPM2_CC_Sign});
  OtherProgram().flush_all();
  CHECK(w.signs(*tpm, there, auth_of(there)));
  OtherProgram other;  // another key comes to be at its handle
  other.flush_all();
  const tpm2::KeyRef theirs = key_for(policy_of({{{tpm2::AuthValueStatement{}}}}));
  const tpm2::Entity loaded = other.load(theirs);
  CHECK(w.signs(*tpm, there, auth_of(there)));
  other.commands.flush(loaded.handle);
  CHECK(w.signs(*tpm, key, auth_of(key)));  // which makes room for itself
  CHECK(w.handles(TPM2_TRANSIENT_FIRST).size() == 1);
  tpm->quiesce();
  CHECK(w.handles(TPM2_TRANSIENT_FIRST).empty());
  flush_sessions();
  w.swtpm.remove("0x81000031");
}

TEST_CASE("policy: parent and forked child have sessions of their own") {
  World& w = world();
  const auto tpm = w.tpm();
  const tpm2::KeyRef key =
      key_for(policy_of({{{pcr_16(), tpm2::AuthValueStatement{}}}}), std::string(kAuth));
  const core::Secret value = secret(kAuth);
  const auto signs = [&] {
    bool good = true;
    for (int i = 0; i < 10; ++i) good = w.signs(*tpm, key, auth_of(key, &value)) && good;
    return good;
  };
  CHECK(signs());
  const auto before = sessions();
  const pid_t pid = fork();
  if (pid == 0) {
    bool good = false;
    try {
      good = signs();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "child: %s\n", error.what());
    }
    tpm->quiesce();
    _exit(good ? 0 : 1);
  }
  CHECK(signs());
  int status = 0;
  waitpid(pid, &status, 0);
  CHECK(status == 0);
  CHECK(sessions() == before);
  CHECK(signs());
  tpm->quiesce();
}
