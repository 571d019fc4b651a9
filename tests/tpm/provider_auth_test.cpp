// Auth values: how they come to the TPM, that they are hidden on the way, and that a wrong one is
// tried once.
#include <array>

#include "tests/fixture/life.h"
#include "tests/tpm/provider.h"

using namespace hwid::test;
using namespace hwid::test::provider;
using namespace hwid::test::life;

namespace {

constexpr const char* kValue = "an-auth-value";
constexpr const char* kParentValue = "a-parent-value";

std::string secret_key() {
  static const std::string made = world().add_key({"ecc256", kSignDecrypt, kValue, kParent, {}});
  return made;
}
// Below the parent that has an auth value, too.
std::string secret_file() {
  static const std::string made = [] {
    const std::string parent = world().add_key(
        {"ecc256:aes128cfb",
         "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt",
         kParentValue,
         kParent,
         {}});
    return world().add_file({"ecc256", kSignDecrypt, kValue, parent, kParentValue});
  }();
  return made;
}
std::string value_file(const char* value) {
  const std::string file = world().file(std::string("value-") + value);
  write_file(file, std::string(value) + "\n");
  std::filesystem::permissions(file, std::filesystem::perms::owner_read);
  return file;
}

bool signs(const LibraryContext& context, EvpPkey key) {
  return KeySigner(context, std::move(key), false).signs(2);
}
bool signs(const LibraryContext& context, const std::string& uri) {
  return signs(context, context.private_key(uri));
}
// Why the key does not sign.
std::string failure(const LibraryContext& context, const std::string& uri) {
  return error_of([&] {
    const EvpPkey key = context.private_key(uri);
    (void)sign(context.get(), key.get(), "SHA256", "message");
  });
}

// A new key whose failures count.
std::string counted_key() {
  return by_handle(world().add_key({"ecc256", kCounted, kValue, kParent, {}}));
}

}  // namespace

TEST_CASE("tpm auth: by the URI, a file, the environment, or the configuration") {
  const std::string uri = by_handle(secret_key());
  setenv("HWID_TEST_VALUE", kValue, 1);
  CHECK(signs(context(), uri + "?pin-value=" + kValue));
  CHECK(signs(context(), "handle:" + secret_key() + "?pin-value=" + kValue));
  CHECK(signs(context(), uri + "?pin-source=file:" + value_file(kValue)));
  CHECK(signs(context(), uri + "?pin-source=env:HWID_TEST_VALUE"));
  const LibraryContext configured(
      world()
          .conf({{"pin-source", "file:" + value_file(kValue)}, {"objects", "x=" + secret_key()}})
          .key("name", uri));
  CHECK(signs(configured, uri));
  CHECK(signs(configured, "hwid:name"));
  CHECK(signs(configured, std::string("pkcs11:token=") + kToken + ";object=x"));
}

TEST_CASE("tpm auth: by the program's passphrase callback, where there is something to ask for") {
  Passphrase right{kValue};
  CHECK(signs(context(), open_asking(context(), "handle:" + secret_key() + "?pass", right)));
  CHECK(right.asked == 1);
  // A handle does not say whether its key has an auth value.
  Passphrase unasked{"nothing"};
  CHECK(open_asking(context(), by_handle(secret_key()), unasked));
  CHECK(unasked.asked == 0);
  // A file does. (What tpm2_encodeobject says there is the wrong way round.)
  const Swtpm::KeyOptions options{"ecc256", kSignDecrypt, kValue, kParent, {}};
  const Swtpm::KeyFiles files = world().swtpm.make_key(options);
  Swtpm::KeyOptions written = options;
  written.auth.clear();
  world().swtpm.encode_key(files, written, world().file("asks.pem"));
  const std::string pem = read_file(world().file("asks.pem"));
  CHECK(signs(context(), read_pem(context(), pem, &right)));
  CHECK(right.asked == 2);
  CHECK(signs(context(), open_asking(context(), world().file("asks.pem"), right)));
  CHECK(right.asked == 3);
}

TEST_CASE("tpm auth: the parent's, by the URI or the environment") {
  const std::string uri = "tpm2:file=" + secret_file() + "?pin-value=" + kValue;
  const std::string none = failure(context(), uri);
  CHECK_MESSAGE(contains(none, "TPM2_Load"), none);
  CHECK_MESSAGE(contains(none, "needs an auth value"), none);
  CHECK(signs(context(), uri + "&parent-pin-source=file:" + value_file(kParentValue)));
  setenv("TPM2OPENSSL_PARENT_AUTH", kParentValue, 1);
  const Counted child = run_signer(world().captured_conf(), uri, "sign", "1");
  CHECK_MESSAGE(child.result.ok(), child.result.err);
  unsetenv("TPM2OPENSSL_PARENT_AUTH");
  CHECK(!run_signer(world().captured_conf(), uri, "sign", "1").result.ok());
}

TEST_CASE("tpm auth: no value where one is needed is an error that says what to do") {
  const std::string message = failure(context(), by_handle(secret_key()));
  CHECK_MESSAGE(contains(message, "the key needs an auth value, and none was given"), message);
  CHECK_MESSAGE(contains(message, "?pin-source=file:PATH"), message);
  CHECK_MESSAGE(contains(message, secret_key()), message);
}

TEST_CASE("tpm auth: eight workers with a wrong value cost one failure of the TPM's few") {
  const std::string uri = counted_key();
  const int before = world().swtpm.lockout_counter();
  const EvpPkey key = context().private_key(uri + "?pin-value=wrong");
  std::vector<pid_t> workers;
  for (int worker = 0; worker < 8; ++worker) {
    workers.push_back(start_child([&] {
      const std::string message =
          error_of([&] { (void)sign(context().get(), key.get(), "SHA256", "message"); });
      if (contains(message, "the auth value is wrong") &&
          contains(message, "(1 of 3 failures count; one is forgiven after 1000 seconds)"))
        return true;
      return KeySigner::none(contains(message, "the TPM refused it before") ? "" : message);
    }));
  }
  for (const pid_t worker : workers) CHECK(status_of(worker) == 0);
  CHECK(world().swtpm.lockout_counter() - before == 1);
  // Neither does the parent, nor who opens it again.
  for (int round = 0; round < 3; ++round) {
    const std::string message = failure(context(), uri + "?pin-value=wrong");
    CHECK_MESSAGE(contains(message, "the TPM refused it before, and it is not sent again"),
                  message);
    CHECK(!contains(message, "pin-value"));
  }
  CHECK(world().swtpm.lockout_counter() - before == 1);
  CHECK(signs(context(), uri + "?pin-value=" + kValue));
  world().swtpm.reset_lockout();
}

TEST_CASE("tpm auth: a lockout is said, with when it ends") {
  const std::string uri = counted_key();
  for (const char* const value : {"first", "second", "third"})
    CHECK(contains(failure(context(), uri + "?pin-value=" + value), "TPM_RC_AUTH_FAIL"));
  const std::string message = failure(context(), uri + "?pin-value=" + kValue);
  CHECK_MESSAGE(contains(message, "TPM_RC_LOCKOUT"), message);
  CHECK_MESSAGE(contains(message, "3 of 3 failures count; one is forgiven after 1000 seconds"),
                message);
  CHECK(signs(context(), by_handle(secret_key()) + "?pin-value=" + kValue));  // noDA
  world().swtpm.reset_lockout();
  CHECK(signs(context(), uri + "?pin-value=" + kValue));
}

TEST_CASE("tpm auth: who opens a key without its value spoils it for nobody") {
  const LibraryContext fresh(world().conf());
  const EvpPkey without = fresh.private_key(by_handle(secret_key()));
  CHECK(signs(fresh, by_handle(secret_key()) + "?pin-value=" + kValue));
  CHECK(!failure(fresh, by_handle(secret_key())).empty());
}

TEST_CASE("tpm auth: a value is hidden on the bus, but for who gives that up") {
  const std::string before = world().swtpm.loaded();  // of this process
  const std::string uri = by_handle(secret_key()) + "?pin-value=" + kValue;
  const Counted hidden = run_signer(world().captured_conf(), uri, "sign", "2");
  CHECK_MESSAGE(hidden.result.ok(), hidden.result.err);
  CHECK(!contains(hidden.bytes, kValue));
  CHECK(contains(hidden.commands, "StartAuthSession 1"));
  const Counted clear = run_signer(world().captured_conf({{"session", "none"}}), uri, "sign", "2");
  CHECK_MESSAGE(clear.result.ok(), clear.result.err);
  CHECK(contains(clear.bytes, kValue));
  CHECK(clear.commands == "Sign 2, ReadPublic 1");
  const std::string open = by_handle(world().add_key("ecc256"));
  const Counted always =
      run_signer(world().captured_conf({{"session", "hmac"}}), open, "sign", "2");
  CHECK_MESSAGE(always.result.ok(), always.result.err);
  CHECK(contains(always.commands, "Sign 2"));
  CHECK_MESSAGE(contains(always.commands, "StartAuthSession 1"), always.commands);
  CHECK(world().swtpm.loaded() == before);
}

TEST_CASE("tpm auth: a parent's value is hidden too, and so is a file's key") {
  const std::string before = world().swtpm.loaded();
  const std::string uri = "tpm2:file=" + secret_file() + "?pin-value=" + kValue +
                          "&parent-pin-source=file:" + value_file(kParentValue);
  const Counted hidden = run_signer(world().captured_conf(), uri, "sign", "2");
  CHECK_MESSAGE(hidden.result.ok(), hidden.result.err);
  CHECK(!contains(hidden.bytes, kValue));
  CHECK(!contains(hidden.bytes, kParentValue));
  const Counted clear = run_signer(world().captured_conf({{"session", "none"}}), uri, "sign", "2");
  CHECK_MESSAGE(clear.result.ok(), clear.result.err);
  CHECK(contains(clear.bytes, kValue));
  CHECK(contains(clear.bytes, kParentValue));
  CHECK(world().swtpm.loaded() == before);
}

// A file may say so of a key that has none (tpm2_encodeobject does): one try is made, not one by
// each process.
TEST_CASE("tpm auth: a file's key that has a value, by its word, is tried once without") {
  const std::string file = world().file("needs.pem");
  const OpensslConf conf = world().captured_conf({{"parent", kParent}}).setting("keygen", "tpm");
  const Counted generated = run_counted(
      conf, {"openssl", "genpkey", "-propquery", "provider=hwid", "-algorithm", "EC", "-pkeyopt",
             "group:P-256", "-pkeyopt", std::string("user-auth:") + kValue, "-out", file});
  REQUIRE_MESSAGE(generated.result.ok(), generated.result.err);
  const std::string uri = "tpm2:file=" + file;
  world().swtpm.reset_lockout();
  for (int run = 0; run < 4; ++run) {
    const Counted one = run_signer(world().captured_conf(), uri, "sign", "1");
    const std::string& message = one.result.err;
    CHECK_FALSE(one.result.ok());
    if (run == 0) {
      CHECK_MESSAGE(contains(message, "TPM_RC_AUTH_FAIL"), message);
    } else {
      CHECK_MESSAGE(contains(message, "1 of 3 failures count"), message);
      CHECK_MESSAGE(contains(message, "pin-source="), message);
      CHECK_MESSAGE(!contains(one.commands, "Sign"), one.commands);
    }
  }
  CHECK(run_signer(world().captured_conf(), uri + "?pin-value=" + kValue, "sign", "1").result.ok());
  world().swtpm.reset_lockout();
  const std::string open = "tpm2:file=" + world().add_file({"ecc256", kCounted, {}, kParent, {}});
  CHECK(run_signer(world().captured_conf(), open, "sign", "1").result.ok());
}
