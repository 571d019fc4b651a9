#include "provider/tpm2/connection.h"

#include "tests/tpm/world.h"

using namespace hwid;
using namespace hwid::test;
using core::Reason;
using tpm2::Entity;
using tpm2::TpmError;

namespace {

const tpm2::Place kPlace{"swtpm", "key"};

// Made and removed by single tests.
constexpr TPM2_HANDLE kDecryptingKey = 0x81000004;
constexpr TPM2_HANDLE kOtherParent = 0x81000005;
constexpr char kSignAndDecrypt[] =
    "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign|decrypt";

// An open connection through the spy, whose hooks are gone afterwards.
struct Open {
  World& w = world();
  tpm2::Connection connection{w.spy.opener()(w.swtpm.tcti())};
  tpm2::Commands commands{connection, w.crypto, kPlace};
  Open() { w.spy.take_commands(); }
  ~Open() { w.spy.reset(); }
};

// Salted by a key whose public half is `area`.
tpm2::SessionKind salted_by(TPM2_HANDLE handle, const TPMT_PUBLIC& area) {
  return {TPM2_SE_HMAC, TPM2_ALG_SHA256, handle, &area};
}

// A session that is flushed at the end.
struct Session {
  Open& open;
  TPMT_PUBLIC salt_area;
  tpm2::AuthSession session;
  explicit Session(Open& o, TPM2_HANDLE salt = kParent)
      : open(o),
        salt_area(o.commands.read_public(salt).public_area),
        session(o.commands.start_session(salted_by(salt, salt_area))) {}
  ~Session() { open.commands.flush(session.handle); }
};

Entity entity_of(Open& open, TPM2_HANDLE handle) {
  return {handle, open.commands.read_public(handle).name};
}

template <typename Body>
TSS2_RC rc_of(Body&& body) {
  try {
    body();
  } catch (const TpmError& error) {
    return error.rc;
  }
  return TSS2_RC_SUCCESS;
}

}  // namespace

TEST_CASE("connection: ReadPublic and Sign are two commands, and OpenSSL verifies") {
  Open open;
  const tpm2::PublicObject key = open.commands.read_public(kEcKey);
  const TPM2B_DIGEST digest = sha256("text");
  const TPMT_SIGNATURE signature =
      open.commands.sign({kEcKey, {}}, {}, digest, scheme(TPM2_ALG_ECDSA));
  CHECK(open.w.spy.take_commands() == std::vector<TPM2_CC>{TPM2_CC_ReadPublic, TPM2_CC_Sign});
  CHECK(verifies(open.w.crypto, key.public_area, digest, signature));
  CHECK_FALSE(verifies(open.w.crypto, key.public_area, sha256("other"), signature));
}

TEST_CASE("connection: an auth value signs in a session, by EC and by RSA salt, many times") {
  Open open;
  const core::Secret value = secret(kAuth);
  for (const char* const algorithm : {"ecc", "ecc384", "rsa"}) {
    CAPTURE(algorithm);
    open.w.swtpm.make_parent("0x81000005", algorithm);
    Session session(open, kOtherParent);
    const Entity key = entity_of(open, kSecretKey);
    const tpm2::PublicObject object = open.commands.read_public(kSecretKey);
    for (int i = 0; i < 200; ++i) {
      const TPM2B_DIGEST digest = sha256("text " + std::to_string(i));
      const TPMT_SIGNATURE signature =
          open.commands.sign(key, {&session.session, &value}, digest, scheme(TPM2_ALG_ECDSA));
      REQUIRE(verifies(open.w.crypto, object.public_area, digest, signature));
    }
    open.w.swtpm.remove("0x81000005");
  }
  CHECK_FALSE(open.w.spy.saw(core::as_bytes(kAuth)));
}

TEST_CASE("connection: a key that cannot salt a session is refused, and called what it is") {
  const auto salting = [](const TPMT_PUBLIC& area) {
    return [&area] { tpm2::make_salt(world().crypto, area); };
  };
  TPMT_PUBLIC area = tpm2::storage_template(tpm2::StorageKey::kP256).publicArea;
  for (const auto& [curve, name] :
       {std::pair{TPM2_ECC_NIST_P192, "P-192"}, std::pair{TPM2_ECC_BN_P256, "BN-256"}}) {
    area.parameters.eccDetail.curveID = curve;
    const std::string text = message_of(salting(area), Reason::kUnsupported);
    CHECK(contains(text, "the TPM's salt key"));
    CHECK(contains(text, name));
  }
  area.parameters.eccDetail.curveID = TPM2_ECC_NIST_P256;
  CHECK(contains(message_of(salting(area), Reason::kBadParameter), "coordinate of 0 bytes"));
  area.objectAttributes &= ~TPMA_OBJECT_DECRYPT;
  CHECK(contains(message_of(salting(area), Reason::kBadConfiguration), "may not decrypt"));
  area = tpm2::storage_template(tpm2::StorageKey::kRsa2048).publicArea;
  CHECK(contains(message_of(salting(area), Reason::kBadParameter), "the TPM's salt key"));
  area.type = TPM2_ALG_KEYEDHASH;
  CHECK(contains(message_of(salting(area), Reason::kBadConfiguration), "neither RSA nor EC"));
}

TEST_CASE("connection: a wrong auth value, a wrong name, a session that survives both") {
  Open open;
  Session session(open);
  const core::Secret value = secret(kAuth);
  const core::Secret wrong = secret("wrong");
  Entity key = entity_of(open, kSecretKey);
  const auto sign = [&](const Entity& entity, const core::Secret& with) {
    return rc_of([&] {
      open.commands.sign(entity, {&session.session, &with}, sha256("text"), scheme(TPM2_ALG_ECDSA));
    });
  };
  CHECK(sign(key, value) == TSS2_RC_SUCCESS);
  CHECK(sign(key, wrong) == 0x9a2);
  CHECK(sign(entity_of(open, kEcKey), value) == 0x9a2);
  Entity renamed = key;
  renamed.name.back() ^= 1;
  CHECK(sign(renamed, value) == 0x9a2);
  CHECK(sign(key, value) == TSS2_RC_SUCCESS);
}

TEST_CASE("connection: an auth value is never sent in clear") {
  Open open;
  const core::Secret value = secret(kAuth);
  const auto in_clear = [&] {
    open.commands.sign({kSecretKey, {}}, {nullptr, &value}, sha256("text"), scheme(TPM2_ALG_ECDSA));
  };
  CHECK(contains(message_of(in_clear, Reason::kInternal), "in clear"));
  CHECK(open.w.spy.take_commands().empty());
}

TEST_CASE("connection: a new auth value is hidden in Create, and works") {
  Open open;
  Session session(open);
  const Entity parent = entity_of(open, kParent);
  const core::Secret value = secret("another-auth-value");
  core::KeySpec spec;
  spec.algorithm = core::Algorithm::kEc;
  const TPMT_PUBLIC wanted = tpm2::key_template(spec, core::Digest::kSha256, true).publicArea;
  const tpm2::CreatedObject made =
      open.commands.create(parent, {&session.session, nullptr}, &value, wanted);
  const core::Bytes name = tpm2::object_name(open.w.crypto, made.public_area.publicArea);
  const Entity key = open.commands.load(parent, {}, made.public_area, made.private_area, name);
  const TPM2B_DIGEST digest = sha256("text");
  const TPMT_SIGNATURE signature =
      open.commands.sign(key, {&session.session, &value}, digest, scheme(TPM2_ALG_ECDSA));
  CHECK(verifies(open.w.crypto, made.public_area.publicArea, digest, signature));
  open.commands.flush(key.handle);
  CHECK_FALSE(open.w.spy.saw(value.reveal()));
  CHECK_THROWS_AS(open.commands.create(parent, {}, &value, wanted), core::Error);
}

TEST_CASE("connection: what the TPM answers in secret is hidden") {
  Open open;
  Session session(open);
  const core::Secret random = open.commands.get_random(16, &session.session);
  CHECK(random.size() == 16);
  CHECK_FALSE(open.w.spy.saw(random.reveal()));
  CHECK(open.w.spy.saw(open.commands.get_random(16).reveal()));

  Swtpm::KeyOptions options;
  options.algorithm = "rsa2048";
  options.attributes = kSignAndDecrypt;
  open.w.swtpm.make_key(options, "0x81000004");
  const Entity rsa = entity_of(open, kDecryptingKey);
  core::Bytes cipher(256, 0x5a);  // raw: any number below n
  TPMT_RSA_DECRYPT raw{};
  raw.scheme = TPM2_ALG_NULL;
  const core::Secret hidden =
      open.commands.rsa_decrypt(rsa, {&session.session, nullptr}, cipher, raw);
  CHECK_FALSE(open.w.spy.saw(hidden.reveal()));
  const core::Secret shown = open.commands.rsa_decrypt(rsa, {}, cipher, raw);
  CHECK(core::to_hex(shown.reveal()) == core::to_hex(hidden.reveal()));
  CHECK(open.w.spy.saw(shown.reveal()));
  open.w.swtpm.remove("0x81000004");
}

TEST_CASE("connection: ECDH, hidden and not") {
  Open open;
  Session session(open);
  Swtpm::KeyOptions options;
  options.attributes = kSignAndDecrypt;
  open.w.swtpm.make_key(options, "0x81000004");
  const tpm2::PublicObject own = open.commands.read_public(kDecryptingKey);
  const Entity key{kDecryptingKey, own.name};
  const TPMS_ECC_POINT peer = open.commands.read_public(kEcKey).public_area.unique.ecc;
  const core::Secret hidden = open.commands.ecdh_zgen(key, {&session.session, nullptr}, peer);
  CHECK_FALSE(open.w.spy.saw(hidden.reveal()));
  const core::Secret shown = open.commands.ecdh_zgen(key, {}, peer);
  CHECK(core::to_hex(shown.reveal()) == core::to_hex(hidden.reveal()));
  open.w.swtpm.remove("0x81000004");
}

TEST_CASE("connection: an answer that was changed on its way is noticed in a session") {
  Open open;
  const core::Secret value = secret(kAuth);
  const Entity key = entity_of(open, kSecretKey);
  const auto sign_with = [&](const std::function<void(core::Bytes&)>& change) {
    Session session(open);
    open.w.spy.after = [&](TPM2_CC code, core::Bytes& answer) {
      if (code == TPM2_CC_Sign) change(answer);
      return TSS2_RC_SUCCESS;
    };
    const TSS2_RC rc = rc_of([&] {
      open.commands.sign(key, {&session.session, &value}, sha256("text"), scheme(TPM2_ALG_ECDSA));
    });
    open.w.spy.after = nullptr;
    return rc;
  };
  CHECK(sign_with([](core::Bytes&) {}) == TSS2_RC_SUCCESS);
  CHECK(sign_with([](core::Bytes& answer) { answer[25] ^= 1; }) == tpm2::kResponseAuthFailed);
  CHECK(sign_with([](core::Bytes& answer) { answer.back() ^= 1; }) == tpm2::kResponseAuthFailed);
  // The HMAC left out altogether: its size, and so that of the whole, are made to fit.
  CHECK(sign_with([](core::Bytes& answer) {
          answer.resize(answer.size() - 34);
          answer.insert(answer.end(), {0, 0});
          answer[5] = static_cast<std::uint8_t>(answer.size());
        }) == tpm2::kResponseAuthFailed);
  // As if no session had been there.
  CHECK(sign_with([](core::Bytes& answer) { answer[1] = 0x01; }) == tpm2::kMalformedResponse);
}

TEST_CASE("connection: garbled answers give an error, whatever they are") {
  Open open;
  const auto parent = open.commands.read_public(kParent);
  const tpm2::KeyRef blob = open.w.blob(open.w.swtpm.make_key({}));
  const TPMT_PUBLIC wanted = tpm2::storage_template(tpm2::StorageKey::kP256).publicArea;
  core::KeySpec spec;
  spec.algorithm = core::Algorithm::kEc;
  const TPMT_PUBLIC key_wanted = tpm2::key_template(spec, core::Digest::kSha256, false).publicArea;

  struct Case {
    const char* name;
    std::function<void()> run;
  };
  const std::vector<Case> cases = {
      {"ReadPublic", [&] { open.commands.read_public(kEcKey); }},
      {"Sign",
       [&] {
         open.commands.sign({kEcKey, {}}, {}, sha256("text"), scheme(TPM2_ALG_ECDSA));
       }},
      {"Load",
       [&] {
         const Entity key = open.commands.load({kParent, {}}, {}, blob.blob->public_area,
                                               blob.blob->private_area, blob.name);
         open.commands.flush(key.handle);
       }},
      {"Create",
       [&] {
         open.commands.create({kParent, {}}, {}, nullptr, key_wanted);
       }},
      {"CreatePrimary",
       [&] {
         const auto made = open.commands.create_primary(TPM2_RH_NULL, {}, wanted);
         open.commands.flush(made.entity.handle);
       }},
      {"GetCapability", [&] { open.commands.handles(TPM2_PERSISTENT_FIRST); }},
      {"GetCapability", [&] { open.commands.lockout(); }},
      {"GetRandom", [&] { open.commands.get_random(16); }},
      {"Hash", [&] { open.commands.hash(core::as_bytes("text"), TPM2_ALG_SHA256, TPM2_RH_OWNER); }},
      {"StartAuthSession",
       [&] {
         const auto session = open.commands.start_session(salted_by(kParent, parent.public_area));
         open.commands.flush(session.handle);
       }},
  };
  int errors = 0;
  for (const Case& one : cases) {
    core::Bytes whole;
    open.w.spy.after = [&](TPM2_CC, core::Bytes& answer) {
      if (whole.empty()) whole = answer;
      return TSS2_RC_SUCCESS;
    };
    one.run();
    REQUIRE(whole.size() >= 10);
    const auto run_with = [&](const core::Bytes& garbled, bool must_fail) {
      bool first = true;
      open.w.spy.after = [&](TPM2_CC, core::Bytes& answer) {
        if (std::exchange(first, false)) answer = garbled;
        return TSS2_RC_SUCCESS;
      };
      bool failed = false;
      try {
        one.run();
      } catch (const core::Error& error) {
        failed = true;
        ++errors;
        CHECK_MESSAGE(contains(error.what(), "; "), error.what());
      }
      if (must_fail) CHECK_MESSAGE(failed, one.name, " of ", garbled.size(), " bytes");
    };
    const auto set_size = [](core::Bytes& answer) {
      answer[2] = answer[3] = 0;
      answer[4] = static_cast<std::uint8_t>(answer.size() >> 8);
      answer[5] = static_cast<std::uint8_t>(answer.size());
    };
    for (std::size_t size = 0; size < whole.size(); size += size < 40 ? 1 : 7) {
      core::Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      run_with(cut, true);
      if (size < 10) continue;
      set_size(cut);
      run_with(cut, true);
    }
    core::Bytes longer = whole;
    longer.push_back(0);
    run_with(longer, true);
    set_size(longer);
    run_with(longer, true);
    run_with(core::Bytes(4096, 0xff), true);
    for (std::size_t at = 0; at < whole.size(); at += at < 60 ? 1 : 5) {
      for (const int value : {0x00, 0x7f, 0xff}) {
        core::Bytes changed = whole;
        changed[at] = static_cast<std::uint8_t>(value);
        run_with(changed, at < 10 && changed != whole);  // nothing in a header may vary
      }
    }
    open.w.spy.after = nullptr;
    for (const TPM2_HANDLE left : open.commands.handles(TPM2_TRANSIENT_FIRST))
      open.commands.flush(left);
    for (const TPM2_HANDLE left : open.commands.handles(TPM2_LOADED_SESSION_FIRST))
      open.commands.flush(left);
  }
  CHECK(errors > 500);
}

namespace {

// Answers `rc` instead of the TPM, so many times.
std::function<std::optional<core::Bytes>(TPM2_CC)> busy_with(TSS2_RC rc, int times) {
  return [rc, times](TPM2_CC) mutable -> std::optional<core::Bytes> {
    if (times-- <= 0) return std::nullopt;
    return core::Bytes{0x80,
                       0x01,
                       0,
                       0,
                       0,
                       10,
                       0,
                       0,
                       static_cast<std::uint8_t>(rc >> 8),
                       static_cast<std::uint8_t>(rc)};
  };
}

}  // namespace

TEST_CASE("connection: a busy TPM is asked again, in a session too, but not for ever") {
  Open open;
  Session session(open);
  for (const TSS2_RC busy : {TPM2_RC_RETRY, TPM2_RC_YIELDED, TPM2_RC_TESTING}) {
    open.w.spy.instead = busy_with(busy, 3);
    open.w.spy.take_commands();
    CHECK(open.commands.get_random(8, &session.session).size() == 8);
    CHECK(open.w.spy.take_commands().size() == 4);
  }
  open.w.spy.instead = busy_with(TPM2_RC_RETRY, 1000);
  CHECK(rc_of([&] { open.commands.get_random(8); }) == TPM2_RC_RETRY);
  CHECK(open.w.spy.take_commands().size() < 20);
  open.w.spy.instead = nullptr;
}

TEST_CASE("connection: hashing by the TPM is what software says") {
  Open open;
  const std::string text(3000, 'x');
  const core::ByteView bytes = core::as_bytes(text);
  const TPM2_HANDLE sequence = open.commands.hash_sequence_start(TPM2_ALG_SHA256);
  open.commands.sequence_update(sequence, bytes.first(1024));
  open.commands.sequence_update(sequence, bytes.subspan(1024, 1024));
  const tpm2::HashedMessage long_one =
      open.commands.sequence_complete(sequence, bytes.subspan(2048), TPM2_RH_OWNER);
  const TPM2B_DIGEST expected = sha256(text);
  CHECK(std::equal(expected.buffer, expected.buffer + 32, long_one.digest.buffer));
  CHECK(long_one.ticket.digest.size != 0);
  CHECK(open.w.handles(TPM2_TRANSIENT_FIRST).empty());
}

TEST_CASE("connection: saved contexts, capabilities") {
  Open open;
  const auto made = open.commands.create_primary(
      TPM2_RH_OWNER, {}, tpm2::storage_template(tpm2::StorageKey::kP256).publicArea);
  const core::Bytes context = open.commands.context_save(made.entity.handle);
  open.commands.flush(made.entity.handle);
  const TPM2_HANDLE again = open.commands.context_load(context);
  CHECK(open.commands.read_public(again).name == made.entity.name);
  open.commands.flush(again);

  const std::vector<TPM2_HANDLE> persistent = open.commands.handles(TPM2_PERSISTENT_FIRST);
  CHECK(persistent == std::vector<TPM2_HANDLE>{kParent, kEcKey, kSecretKey});
  const core::Lockout lockout = open.commands.lockout();
  CHECK(lockout.failures == 0);
  CHECK(lockout.most_failures == 3);
  CHECK(lockout.forgiven_after == 1000);
}

TEST_CASE("tcti: what failed is said, and no file is written to") {
  const auto opening = [](const std::string& configuration) {
    return [configuration] { tpm2::open_tcti(configuration); };
  };
  const std::string missing = message_of(opening("device:/dev/no-such-tpm"), Reason::kNoToken);
  CHECK(contains(missing, "tpm=device:/dev/no-such-tpm: there is no /dev/no-such-tpm; "));
  CHECK(contains(message_of(opening("device:/dev/null"), Reason::kNoToken), "is no TPM 2.0"));
  const TemporaryDirectory directory;
  const std::string file = directory.file("precious");
  write_file(file, "content of a file that somebody named by mistake");
  for (const char* prefix : {"device:", "pcap:device:"})
    CHECK(
        contains(message_of(opening(prefix + file), Reason::kBadConfiguration), "is not a device"));
  CHECK(read_file(file) == "content of a file that somebody named by mistake");
  CHECK(contains(message_of(opening("nonsense:x"), Reason::kBadConfiguration), "no TCTI"));
  CHECK(contains(message_of(opening("swtpm:host=127.0.0.1,port=1"), Reason::kNoToken),
                 "tpm=swtpm:host=127.0.0.1,port=1: no TPM answers there; "));
  CHECK(tpm2::is_exclusive("device:/dev/tpm0"));
  CHECK_FALSE(tpm2::is_exclusive("device:/dev/tpmrm0"));
  CHECK_FALSE(tpm2::is_exclusive("device:/dev/tpm"));
  CHECK_FALSE(tpm2::is_exclusive("swtpm:port=2321"));
  CHECK_FALSE(tpm2::is_exclusive(""));
}

TEST_CASE("connection: tpm2-abrmd is known as what a forked child cannot reach by D-Bus") {
  for (const char* const way : {"tabrmd", "tabrmd:bus_type=session", "pcap:tabrmd",
                                "libtss2-tcti-tabrmd.so.0:bus_type=session"})
    CHECK_MESSAGE(tpm2::uses_dbus(way), way);
  for (const char* const way : {"", "device:/dev/tpmrm0", "swtpm:port=2321", "cmd:tabrmd"})
    CHECK_MESSAGE(!tpm2::uses_dbus(way), way);
  CHECK(tpm2::tcti_without_dbus("", "swtpm") == "swtpm");
  CHECK(tpm2::tcti_without_dbus("pcap:", "device:/dev/tpm0") == "pcap:device:/dev/tpm0");
  CHECK(tpm2::tcti_without_dbus("", "tabrmd") == "cmd:/usr/bin/tpm2_send -T 'tabrmd'");
  CHECK(tpm2::tcti_without_dbus("pcap:tabrmd:bus_name=a'b", nullptr) ==
        "pcap:cmd:/usr/bin/tpm2_send -T 'tabrmd:bus_name=a'\\''b'");
}
