// A wrong PIN must never lock the token: not by many restarts of a service, not by many workers.
#include "tests/fixture/paths.h"
#include "tests/token/life.h"

using namespace hwid::test;
using namespace hwid::test::life;

namespace {

// A service whose configuration has `pin`, on a token that is locked by the third wrong PIN in a
// row. All processes share the count.
class Service {
 public:
  explicit Service(const std::string& pin, const Settings& more = {}) {
    write_file(pin_file(), pin + "\n");
    Settings backend = {{"pin-source", "file:" + pin_file()}};
    backend.insert(backend.end(), more.begin(), more.end());
    Settings settings;
    for (const auto& [name, value] : world().token.backend(module.path(), backend)) {
      const bool is_default = name == "pin-source" && value != backend.front().second;
      if (!is_default) settings.emplace_back(name, value);
    }
    OpensslConf().backend("dev", settings).write(directory_.file("openssl.cnf"));
    module.plan("pin-tries 3");
  }

  RunResult start(const std::string& label = "ec") const {
    RunOptions options;
    options.environment = module.environment();
    options.environment["SOFTHSM2_CONF"] = world().token.conf();
    return run({bin_dir() + "/hwid-test-signer", directory_.file("openssl.cnf"),
                world().token.uri(label), "sign", "2"},
               options);
  }
  void correct_pin() const { write_file(pin_file(), std::string(SoftHsmToken::kPin) + "\n"); }
  void allow_final_try() const {
    std::string text = read_file(directory_.file("openssl.cnf"));
    const std::string line = "type = pkcs11";
    text.replace(text.find(line), line.size(), line + "\nallow-final-try = yes");
    write_file(directory_.file("openssl.cnf"), text);
  }

  RemoteModule module;

 private:
  std::string pin_file() const { return directory_.file("pin"); }
  TemporaryDirectory directory_;
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// The right error. Another is that of SoftHSM, which cannot read a token's file while another
// process writes into it that a login failed.
bool is_refused(const LibraryContext& context, const std::string& uri) {
  try {
    (void)context.private_key(uri);
  } catch (const std::exception& error) {
    const std::string text = error.what();
    if (contains(text, "slot ") &&
        (contains(text, ": CKR_GENERAL_ERROR") || contains(text, ": token not initialized")))
      return false;
    if (contains(text, "CKR_PIN_INCORRECT (0xa0)") ||
        contains(text, "this PIN was refused before, and is not sent again"))
      return true;
    (void)Signer::none(text);
  }
  _exit(1);
}

}  // namespace

TEST_CASE("life: a service restarted ten times with a wrong PIN does not lock the token") {
  const Service service("8642");
  for (int restart = 1; restart <= 10; ++restart) {
    CAPTURE(restart);
    const RunResult ended = service.start(restart % 2 == 0 ? "rsa" : "ec");
    CHECK(ended.exit_code == 1);
    CHECK(!contains(ended.err, "8642"));
    if (restart == 1) {
      CHECK_MESSAGE(contains(ended.err, "CKR_PIN_INCORRECT (0xa0)"), ended.err);
      CHECK_MESSAGE(contains(ended.err, "few tries are left"), ended.err);
    } else if (restart == 2) {
      CHECK_MESSAGE(contains(ended.err, "one try is left"), ended.err);
    } else {
      CHECK_MESSAGE(contains(ended.err, "CKF_USER_PIN_FINAL_TRY"), ended.err);
      CHECK_MESSAGE(contains(ended.err, "allow-final-try = yes"), ended.err);
    }
  }
  CHECK(service.module.count("C_Login") == 2);
  CHECK(service.module.count("failed-logins") == 2);  // the third would lock it

  // The right PIN is not sent either, until somebody says so; then all is well again.
  service.correct_pin();
  CHECK(service.start().exit_code == 1);
  CHECK(service.module.count("C_Login") == 2);
  service.allow_final_try();
  const RunResult allowed = service.start();
  CHECK_MESSAGE(allowed.exit_code == 0, allowed.err);
  CHECK(service.module.count("failed-logins") == 0);
}

TEST_CASE("life: the right PIN after one restart with a wrong one") {
  const Service service("8642");
  CHECK(service.start().exit_code == 1);
  CHECK(service.module.count("failed-logins") == 1);
  service.correct_pin();
  const RunResult ended = service.start();
  CHECK_MESSAGE(ended.exit_code == 0, ended.err);
  CHECK(service.module.count("failed-logins") == 0);
}

// As SoftHSM shows it while another process writes what came of a login.
TEST_CASE("life: a token that shows no serial number for a moment is the same token") {
  const LibraryContext context(world().conf());
  world().module("pin-tries 3\nreset-counts");
  const std::string uri = world().token.uri("ec") + "?pin-value=no-such-pin";
  CHECK_THROWS_AS(context.private_key(uri), std::runtime_error);
  CHECK(world().module.count("C_Login") == 1);
  world().module("lie C_GetTokenInfo no-serial times=3");
  CHECK(life::in_child([&] {  // it looks at the token anew
    try {
      (void)context.private_key(uri);
    } catch (const std::exception& error) {
      return contains(error.what(), "this PIN was refused before");
    }
    return false;
  }));
  CHECK(world().module.count("C_Login") == 1);
  world().module.clear();
}

TEST_CASE("life: eight workers with a wrong PIN each do not lock the token") {
  const LibraryContext context(world().conf());
  world().module("pin-tries 3\ndelay-us C_Login 20000\nreset-counts");
  std::vector<pid_t> workers;
  for (int worker = 0; worker < 8; ++worker) {
    workers.push_back(start_child([&] {
      const std::string uri =
          world().token.uri("ec") + "?pin-value=wrong" + std::to_string(getpid());
      try {
        (void)context.private_key(uri);
      } catch (const std::exception&) {
        return true;
      }
      return false;
    }));
  }
  for (const pid_t worker : workers) CHECK(status_of(worker) == 0);
  CHECK(world().module.count("failed-logins") == 2);  // the third would lock it
  world().module.clear();
}

TEST_CASE("life: eight workers with a wrong PIN cost one try, forked before anybody logs in") {
  const TemporaryDirectory directory;
  write_file(directory.file("pin"), "8642\n");
  const LibraryContext context(world().conf({{"pin-source", "file:" + directory.file("pin")}}));
  world().module("pin-tries 3\ndelay-us C_Login 20000\nreset-counts");
  int start[2];
  REQUIRE(pipe(start) == 0);
  std::vector<pid_t> workers;
  for (int worker = 0; worker < 8; ++worker) {
    workers.push_back(start_child([&] {
      close(start[1]);
      char byte = 0;
      (void)!read(start[0], &byte, 1);  // until all are there
      return wait_until([&] { return is_refused(context, world().token.uri("ec")); });
    }));
  }
  close(start[0]);
  close(start[1]);
  for (const pid_t worker : workers) CHECK(status_of(worker) == 0);
  CHECK(world().module.count("C_Login") == 1);
  CHECK(world().module.count("failed-logins") == 1);
  // Nor does the parent try it once more.
  CHECK_THROWS_WITH_AS(context.private_key(world().token.uri("rsa")),
                       doctest::Contains("this PIN was refused before"), std::runtime_error);
  CHECK(world().module.count("C_Login") == 1);
  world().module.clear();
}

TEST_CASE("life: a key that wants the PIN each time asks for it when it is opened again") {
  world().token.generate({"rsa:2048", "asks", "0b", true, false, true});
  const LibraryContext own = context_without_pin();
  int asked = 0;
  const auto prompt = [&] {
    ++asked;
    return std::string(SoftHsmToken::kPin);
  };
  for (const int opened : {1, 2}) {
    EvpPkey key = open_with_prompt(own, world().token.uri("asks"), prompt);
    REQUIRE_MESSAGE(key, openssl_errors());
    CHECK(asked == opened);
    CHECK(Signer(own, std::move(key), false).failure(2) == "");
    CHECK(asked == opened);
  }
}
