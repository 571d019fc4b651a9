// The audit trail of a program that uses keys: what it has of each operation, in threads, children,
// and several processes; and that it costs no call and fails no operation.
#include "tests/fixture/audit.h"

#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <future>

#include "provider/core/audit_fields.h"
#include "tests/fixture/operations.h"
#include "tests/fixture/paths.h"
#include "tests/token/life.h"

using namespace hwid::test;
using namespace hwid::test::life;

namespace {

namespace fs = std::filesystem;
namespace audit_field = hwid::core::audit_field;

// A context whose operations go into a file of its own.
class Audited {
 public:
  explicit Audited(const std::string& setting = {}, const OpensslConf& conf = world().conf())
      : context(OpensslConf(conf)
                    .setting("audit", setting.empty() ? "file:" + path() : setting)
                    .setting("log", "warn:file:" + file("log"))) {}
  std::string file(const std::string& name) const { return directory_.file(name); }
  std::string path() const { return file("audit"); }
  // What was recorded since the last time.
  std::string since() {
    std::vector<AuditRecord> all = read_audit(path());
    last = {all.begin() + static_cast<std::ptrdiff_t>(seen_), all.end()};
    seen_ = all.size();
    return audit_text(last);
  }
  EvpPkey key(const std::string& label) const {
    return context.private_key(world().token.uri(label));
  }

 private:
  TemporaryDirectory directory_;
  std::size_t seen_ = 0;

 public:
  const LibraryContext context;
  std::vector<AuditRecord> last;
};

std::string failure(const std::function<void()>& body) {
  try {
    body();
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A key made on the token by URI; null where it fails.
EvpPkey generate(const LibraryContext& context, const std::string& uri, std::string curve) {
  const EvpPkeyCtx ctx(EVP_PKEY_CTX_new_from_name(context.get(), "EC", "provider=hwid"));
  std::string where = uri;
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string("pkcs11_uri", where.data(), 0),
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, curve.data(), 0),
      OSSL_PARAM_construct_end()};
  EVP_PKEY* made = nullptr;
  if (EVP_PKEY_keygen_init(ctx.get()) == 1 && EVP_PKEY_CTX_set_params(ctx.get(), params) == 1)
    EVP_PKEY_generate(ctx.get(), &made);
  (void)openssl_errors();
  return EvpPkey(made);
}

constexpr const char* kLogin = "\"op\":\"login\"";

// Many signatures in another process.
RunResult run_signer(const std::string& conf, const std::string& what,
                     const std::string& argument) {
  RunOptions options;
  options.environment["SOFTHSM2_CONF"] = world().token.conf();
  return run({bin_dir() + "/hwid-test-signer", conf, world().token.uri("ec"), what, argument},
             options);
}

}  // namespace

// First in this file: a login lasts as long as the process.
TEST_CASE("audit: a wrong PIN is a login that failed, and so is one that was locked") {
  OpensslConf conf;
  Settings settings;
  for (const auto& [name, value] : world().token.backend(world().module.path())) {
    if (name != "pin-source") settings.emplace_back(name, value);
  }
  Audited audited({}, conf.backend("dev", settings));
  const auto open = [&](const std::string& pin) {
    return failure(
        [&] { (void)audited.context.private_key(world().token.uri("ec") + "?pin-value=" + pin); });
  };
  world().module("pin-tries 3");
  CHECK(contains(open("97531"), "CKR_PIN_INCORRECT"));
  CHECK(audited.since() == "login CKR_PIN_INCORRECT\nload ec CKR_PIN_INCORRECT\n");
  CHECK(audited.last[0].at("backend") == "pkcs11");
  CHECK(audited.last[0].at("token") == world().token.label());
  CHECK(contains(open("97531"), "not sent again"));
  CHECK(audited.since() == "login CKR_PIN_INCORRECT\nload ec CKR_PIN_INCORRECT\n");
  CHECK(contains(open("86420"), "CKR_PIN_INCORRECT"));
  CHECK(audited.since() == "login CKR_PIN_INCORRECT\nload ec CKR_PIN_INCORRECT\n");
  CHECK(contains(open("11"), "one more wrong PIN locks the token"));
  CHECK(contains(audited.since(), "login "));
  world().module.clear();
  CHECK(open(SoftHsmToken::kPin).empty());
  CHECK(audited.since() == "login ok\nload ec ok\n");
  CHECK(open(SoftHsmToken::kPin).empty());
  CHECK(audited.since() == "load ec ok\n");
  for (const AuditRecord& record : read_audit(audited.path())) {
    for (const auto& field : record) {
      const std::string& name = field.first;
      if (name == audit_field::kTime || name == audit_field::kPid || name == audit_field::kDuration)
        continue;  // may have any digits
      for (const char* const pin : {"97531", "86420", "pin-value", "1111"})
        CHECK_MESSAGE(!contains(field.second, pin), name);
    }
  }
}

TEST_CASE("audit: every operation, with what it was") {
  Audited audited;
  const EvpPkey rsa = audited.key("rsa");
  const EvpPkey ec = audited.key("ec");
  CHECK(audited.since() == "login ok\nload rsa ok\nload ec ok\n");

  (void)sign(audited.context.get(), rsa.get(), {"SHA256", RSA_PKCS1_PSS_PADDING}, "text");
  (void)sign(audited.context.get(), ec.get(), "SHA384", "text");
  REQUIRE(audited.since() == "sign rsa ok\nsign ec ok\n");
  CHECK(audited.last[0].at("mechanism") == "RSA-PSS SHA2-256 salt 32");
  CHECK(contains(audited.last[1].at("mechanism"), "SHA2-384"));

  const EvpPkey judge = software_public(rsa.get());
  const Padding oaep{RSA_PKCS1_OAEP_PADDING, "SHA1"};
  CHECK(decrypted(audited.context.get(), rsa.get(), oaep, encrypted(judge.get(), oaep, "text")) ==
        "text");
  const std::string recorded = audited.since();
  CHECK(contains(recorded, "decrypt rsa ok\n"));
  CHECK(audited.last.back().at("mechanism").starts_with("RSA"));

  const EvpPkey peer = software_public(ec.get());
  CHECK(derived(audited.context.get(), ec.get(), peer.get()) != "(failed)");
  REQUIRE(audited.since() == "derive ec ok\n");
  CHECK(audited.last[0].at("mechanism") == "ECDH");

  const std::string place = "pkcs11:token=" + world().token.label() + ";object=made";
  CHECK(generate(audited.context, place, "P-384"));
  REQUIRE(audited.since() == "generate made ok\n");
  CHECK(audited.last[0].at("mechanism") == "EC P-384");
  CHECK_FALSE(generate(audited.context, place, "P-384"));
  CHECK(audited.since() == "generate made object exists\n");

  for (const AuditRecord& record : read_audit(audited.path())) {
    CHECK(record.at("backend") == "pkcs11");
    CHECK(record.at("token") == world().token.label());
    CHECK(record.at("pid") == std::to_string(getpid()));
    CHECK(record.at("exe") == fs::read_symlink("/proc/self/exe").string());
    CHECK(record.at("dropped") == "0");
  }
}

TEST_CASE("audit: what fails says why") {
  Audited audited;
  const EvpPkey rsa = audited.key("rsa");
  (void)audited.since();
  world().module("fail C_Sign 0x200");
  CHECK(contains(failure([&] { (void)sign(audited.context.get(), rsa.get(), "SHA256", "text"); }),
                 "CKR_FUNCTION_REJECTED"));
  world().module.clear();
  CHECK(audited.since() == "sign rsa CKR_FUNCTION_REJECTED\n");
  CHECK_FALSE(failure([&] { (void)audited.key("nobody"); }).empty());
  REQUIRE(audited.since() == "load nobody object not found\n");
  CHECK(audited.last[0].at("token") == world().token.label());
  CHECK_FALSE(failure([&] { (void)audited.context.private_key("hwid:nobody"); }).empty());
  CHECK(audited.since() == "load hwid://nobody object not found\n");
}

TEST_CASE("audit: one line a key that the program gets, and none for what is public") {
  Audited audited;
  const std::string pem = audited.file("reference.pem");
  {
    const EvpPkey key = audited.key("ec");
    const std::unique_ptr<BIO, FreeWith<BIO_free>> bio(BIO_new_file(pem.c_str(), "w"));
    REQUIRE(PEM_write_bio_PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) ==
            1);
  }
  (void)audited.since();
  for (int round = 0; round < 2; ++round) {
    const std::unique_ptr<BIO, FreeWith<BIO_free>> bio(BIO_new_file(pem.c_str(), "r"));
    const EvpPkey key(PEM_read_bio_PrivateKey_ex(bio.get(), nullptr, nullptr, nullptr,
                                                 audited.context.get(), nullptr));
    CHECK(key);
    CHECK(audited.since() == "load ec ok\n");
  }
  (void)audited.context.private_key("hwid:device");
  CHECK(audited.since() == "load rsa ok\n");
  (void)audited.context.public_key("pkcs11:token=" + world().token.label() +
                                   ";object=rsa;type=public");
  CHECK(audited.since() == "");
}

TEST_CASE("audit: no call more, no call less") {
  Audited audited;
  EvpPkey key = audited.key("rsa");
  const auto calls = [&](const std::function<void()>& body) {
    world().module("reset-counts");
    body();
    return world().module.total();
  };
  const auto sign_once = [&] { (void)sign(audited.context.get(), key.get(), "SHA256", "text"); };
  sign_once();
  sign_once();
  CHECK(calls(sign_once) == 2);
  CHECK(calls([&] { key = audited.key("rsa"); }) == 0);
  const LibraryContext silent(world().conf());
  EvpPkey other;
  const auto without = calls([&] { other = silent.private_key(world().token.uri("ec384")); });
  CHECK(calls([&] { other = audited.key("ec384"); }) == without);
}

TEST_CASE("audit: threads, children and other processes in one file, which is rotated") {
  Audited audited;
  const Signer signer(audited.context, kKinds[2]);
  const std::string conf = OpensslConf()
                               .backend("dev", world().token.backend())
                               .setting("audit", "file:" + audited.path())
                               .write(audited.file("openssl.cnf"));
  constexpr int kEach = 100;
  // One after the other, and before there are threads: SoftHSM reads no token's file while another
  // process logs in, and a child may find its locks held.
  int logins = 1;
  const auto is_in = [&] {
    const std::string text = read_file(audited.path());
    int seen = 0;
    for (auto at = text.find(kLogin); at != std::string::npos; at = text.find(kLogin, at + 1))
      ++seen;
    return seen > logins;
  };
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i, ++logins) {
    children.push_back(start_child([&] { return signer.signs(kEach); }));
    REQUIRE(wait_until(is_in));
  }
  std::vector<std::future<RunResult>> others;
  for (int i = 0; i < 2; ++i, ++logins) {
    others.push_back(std::async(std::launch::async,
                                [&] { return run_signer(conf, "sign", std::to_string(kEach)); }));
    REQUIRE(wait_until(is_in));
  }
  std::atomic<bool> good{true};
  on_threads(4, [&](int thread) {
    for (int i = 0; i < kEach; ++i) {
      if (!signer.signs()) good = false;
      if (thread == 0 && i % 25 == 5)
        fs::rename(audited.path(), audited.file("audit." + std::to_string(i)));
    }
  });
  CHECK(good);
  for (const pid_t child : children) CHECK(status_of(child) == 0);
  for (auto& other : others) {
    const RunResult ended = other.get();
    CHECK_MESSAGE(ended.ok(), ended.err);
  }
  std::map<std::string, int> signatures;
  std::size_t files = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(audited.path()).parent_path())) {
    if (!entry.path().filename().string().starts_with("audit")) continue;
    ++files;
    for (const AuditRecord& record : read_audit(entry.path().string())) {
      CHECK(record.at("result") == "ok");
      CHECK(record.at("dropped") == "0");
      if (record.at("op") == "sign") ++signatures[record.at("pid")];
    }
  }
  CHECK(files == 5);
  CHECK(signatures.size() == 1 + 3 + 2);
  for (const auto& [pid, count] : signatures)
    CHECK(count == (pid == std::to_string(getpid()) ? 4 * kEach : kEach));
}

TEST_CASE("audit: two contexts write one file") {
  Audited audited;
  const LibraryContext other(world().conf().setting("audit", "file:" + audited.path()));
  const EvpPkey rsa = audited.key("rsa");
  const EvpPkey ec = other.private_key(world().token.uri("ec"));
  (void)sign(other.get(), ec.get(), "SHA256", "text");
  (void)sign(audited.context.get(), rsa.get(), "SHA256", "text");
  CHECK(audited.since() == "login ok\nload rsa ok\nload ec ok\nsign ec ok\nsign rsa ok\n");
}

TEST_CASE("audit: a trail that cannot be written fails no operation") {
  const TemporaryDirectory directory;
  const Audited audited("file:" + directory.path().string());  // of a directory
  const EvpPkey key = audited.key("rsa");
  for (int round = 0; round < 3; ++round)
    CHECK(verifies(key.get(), "SHA256", "text",
                   sign(audited.context.get(), key.get(), "SHA256", "text")));
  CHECK(
      in_child([&] { return !sign(audited.context.get(), key.get(), "SHA256", "text").empty(); }));
  const std::string log = read_file(audited.file("log"));
  CHECK(contains(log, "audit: write to " + directory.path().string() + ": it is not a regular"));
  CHECK(std::count(log.begin(), log.end(), '\n') == 2);  // one of the child
}

TEST_CASE("audit: a wrong setting stops keys, and no program that uses none") {
  const Audited audited("on");
  CHECK(contains(failure([&] { (void)audited.key("rsa"); }),
                 "openssl.cnf: audit = on: not an audit trail"));
  CHECK(contains(read_file(audited.file("log")), "openssl.cnf: audit = on: not an audit trail"));
  const EvpPkey software(EVP_PKEY_Q_keygen(audited.context.get(), nullptr, "EC", "P-256"));
  REQUIRE(software);
  CHECK(verifies(software.get(), "SHA256", "text",
                 sign(audited.context.get(), software.get(), "SHA256", "text")));
}

TEST_CASE("audit: programs that use no key write nothing; and off is off") {
  Audited audited;
  const EvpPkey software(EVP_PKEY_Q_keygen(audited.context.get(), nullptr, "EC", "P-256"));
  (void)sign(audited.context.get(), software.get(), "SHA256", "text");
  CHECK(audited.since() == "");
  const Audited off("off");
  CHECK(off.key("rsa"));
  CHECK_FALSE(fs::exists(off.path()));
}

TEST_CASE("audit: a program that gives up its rights, and its child") {
  if (geteuid() != 0) {
    MESSAGE("skipped: needs root");
    return;
  }
  run_checked({"chmod", "-R", "a+rwX", world().token.directory().path().string()});
  REQUIRE(chmod(world().token.pin_file().c_str(), 0600) == 0);
  const TemporaryDirectory directory;  // root's own
  const std::string conf = OpensslConf()
                               .backend("dev", world().token.backend())
                               .setting("audit", "file:" + directory.file("audit"))
                               .write(directory.file("openssl.cnf"));
  const RunResult ended = run_signer(conf, "setuid", "65534");
  CHECK_MESSAGE(ended.exit_code == 0, ended.err);
  const std::vector<AuditRecord> records = read_audit(directory.file("audit"));
  CHECK(audit_text(records) ==
        "login ok\nload ec ok\nsign ec ok\nsign ec ok\n"                // as root
        "sign ec ok\nsign ec ok\nsign ec ok\nlogin ok\nsign ec ok\n");  // then as nobody
  REQUIRE(records.size() == 9);
  for (std::size_t i = 0; i < records.size(); ++i)
    CHECK(records[i].at("uid") == (i < 4 ? "0" : "65534"));
  CHECK(records[8].at("pid") != records[6].at("pid"));
}
