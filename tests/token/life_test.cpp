#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/fixture/command.h"
#include "tests/token/world.h"

using hwid::test::EvpPkey;
using hwid::test::LibraryContext;
using hwid::test::software_public;
using hwid::test::world;

namespace {

// The token shows two sessions at most, whatever the tests do.
LibraryContext& context() {
  static LibraryContext made(world().conf({{"max-sessions", "2"}}));
  return made;
}

EvpPkey key(const std::string& label) { return context().private_key(world().token.uri(label)); }

bool signs(EVP_PKEY* pkey, EVP_PKEY* judge, int times) {
  try {
    for (int round = 0; round < times; ++round) {
      const std::string message = "message " + std::to_string(round);
      const std::string signature = hwid::test::sign(context().get(), pkey, "SHA256", message);
      if (!hwid::test::verifies(judge, "SHA256", message, signature)) return false;
    }
    return true;
  } catch (const std::exception& error) {
    fprintf(stderr, "pid %d: %s\n", static_cast<int>(getpid()), error.what());
    return false;
  }
}

// Forks `count` children that run `body`, and waits for them; true if all returned true.
bool in_children(int count, const std::function<bool()>& body,
                 const std::function<bool()>& meanwhile) {
  std::vector<pid_t> children;
  for (int child = 0; child < count; ++child) {
    const pid_t pid = fork();
    if (pid == 0) _exit(body() ? 0 : 1);
    children.push_back(pid);
  }
  bool good = meanwhile();
  for (const pid_t pid : children) {
    int status = 0;
    good = waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0 && good;
  }
  return good;
}

}  // namespace

TEST_CASE("life: eight workers forked after the load sign while the parent goes on") {
  for (const char* const label : {"rsa", "ec"}) {
    const EvpPkey token_key = key(label);
    const EvpPkey judge = software_public(token_key.get());
    REQUIRE(signs(token_key.get(), judge.get(), 1));
    const auto sign_some = [&] { return signs(token_key.get(), judge.get(), 10); };
    CHECK(in_children(8, sign_some, sign_some));
    CHECK(in_children(
        1, [&] { return in_children(2, sign_some, sign_some); }, sign_some));
  }
}

// One child at a time: SoftHSM itself takes a token for uninitialized where it initializes while
// another process logs in and writes the token's file.
TEST_CASE("life: a module that wants C_Initialize in every child gets it") {
  world().module("strict-fork on");
  const EvpPkey token_key = key("ec");
  const EvpPkey judge = software_public(token_key.get());
  const auto sign_some = [&] { return signs(token_key.get(), judge.get(), 10); };
  const auto nothing = [] { return true; };
  CHECK(in_children(1, sign_some, nothing));
  CHECK(in_children(
      1, [&] { return sign_some() && in_children(1, sign_some, nothing); }, nothing));
  CHECK(sign_some());
  world().module.clear();
}

TEST_CASE("life: a child opens the key anew, also while the parent has it open") {
  const EvpPkey token_key = key("ec");
  const EvpPkey judge = software_public(token_key.get());
  CHECK(in_children(
      2,
      [&] {
        const EvpPkey own = key("ec");
        const EvpPkey other = key("rsa");
        const EvpPkey other_judge = software_public(other.get());
        return signs(own.get(), judge.get(), 3) && signs(other.get(), other_judge.get(), 3);
      },
      [] { return true; }));
}

TEST_CASE("life: eight threads on one key, two sessions, no failure and no shared session") {
  world().module("max-sessions 2");
  world().module("reset-counts");
  const EvpPkey token_key = key("ec");
  const EvpPkey judge = software_public(token_key.get());
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 8; ++thread)
    threads.emplace_back([&] { good += signs(token_key.get(), judge.get(), 40) ? 1 : 0; });
  for (std::thread& thread : threads) thread.join();
  CHECK(good == 8);
  CHECK(world().module.count("peak-sessions") <= 2);
  CHECK(world().module.count("shared-session") == 0);
  CHECK(world().module.count("bad-handle") == 0);
  CHECK(world().module.count("C_Sign") == 8 * 40);
  CHECK(world().module.count("C_Login") == 0);
  world().module.clear();
}

TEST_CASE("life: threads fork while others sign") {
#ifdef __SANITIZE_ADDRESS__
  MESSAGE("skipped: GCC 12's ASan forks with its own locks taken, and the child waits for ever");
#else
  const EvpPkey token_key = key("ec");
  const EvpPkey judge = software_public(token_key.get());
  std::atomic<bool> stop{false};
  std::atomic<bool> good{true};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 3; ++thread) {
    threads.emplace_back([&] {
      while (!stop) good = signs(token_key.get(), judge.get(), 1) && good;
    });
  }
  // A child of a threaded program may only do what is safe then: here, leave.
  for (int round = 0; round < 10; ++round)
    CHECK(in_children(
        1, [] { return true; }, [] { return true; }));
  stop = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(good);
#endif
}

TEST_CASE("life: an open key heals when the program drops sessions, logs out, or finalizes") {
  const EvpPkey rsa = key("rsa");
  const EvpPkey judge = software_public(rsa.get());
  for (const char* const event : {"drop-sessions", "log-out", "reinitialize", "finalize"}) {
    CAPTURE(event);
    REQUIRE(signs(rsa.get(), judge.get(), 1));
    world().module(event);
    CHECK(signs(rsa.get(), judge.get(), 2));
  }
  world().module("remove-token");
  CHECK_FALSE(signs(rsa.get(), judge.get(), 1));
  world().module("insert-token");
  CHECK(signs(rsa.get(), judge.get(), 2));
  world().module.clear();
}

TEST_CASE("life: a listing finds private keys although the login was lost underneath") {
  const EvpPkey warm = key("ec");
  world().module("log-out");
  LibraryContext fresh(world().conf());
  const EvpPkey found = fresh.private_key(world().token.uri("rsa3072"));
  CHECK(EVP_PKEY_get_bits(found.get()) == 3072);
  world().module.clear();
}

TEST_CASE("life: two library contexts use one token, and one may go") {
  const EvpPkey token_key = key("ec");
  const EvpPkey judge = software_public(token_key.get());
  {
    LibraryContext other(world().conf());
    const EvpPkey own = other.private_key(world().token.uri("ec"));
    CHECK(hwid::test::verifies(judge.get(), "SHA256", "m",
                               hwid::test::sign(other.get(), own.get(), "SHA256", "m")));
  }
  CHECK(signs(token_key.get(), judge.get(), 2));
}

TEST_CASE("life: the PIN is kept while a key is open, and no longer") {
  hwid::test::Settings without_pin;
  for (const auto& [name, value] : world().token.backend(world().module.path())) {
    if (name != "pin-source") without_pin.emplace_back(name, value);
  }
  LibraryContext own(hwid::test::OpensslConf().backend("dev", without_pin));
  const auto sign = [&](EVP_PKEY* pkey) {
    return hwid::test::sign(own.get(), pkey, "SHA256", "m");
  };
  {
    const EvpPkey open = own.private_key(world().token.uri("ec", true));
    world().module("log-out");
    CHECK_FALSE(sign(open.get()).empty());
  }
  const EvpPkey again = own.private_key(world().token.uri("ec"));  // no call: still logged in
  CHECK_FALSE(sign(again.get()).empty());
  world().module("log-out");
  CHECK_THROWS_WITH_AS(sign(again.get()), doctest::Contains("no PIN is kept"), std::runtime_error);
  world().module.clear();
}

TEST_CASE("life: a program that exits with everything open makes no call into a dead module") {
  const hwid::test::RemoteModule module;
  const hwid::test::TemporaryDirectory directory;
  hwid::test::write_file(directory.file("message"), "message");
  const std::string conf = hwid::test::OpensslConf()
                               .backend("dev", world().token.backend(module.path()))
                               .write(directory.file("openssl.cnf"));
  hwid::test::RunOptions options;
  options.environment = module.environment();
  options.environment["SOFTHSM2_CONF"] = world().token.conf();
  options.environment["OPENSSL_CONF"] = conf;
  options.environment["OPENSSL_MODULES"] = std::getenv("HWID_MODULE_DIR");
  if (const char* const preload = std::getenv("HWID_PRELOAD"))
    options.environment["LD_PRELOAD"] = preload;
  for (const char* const label : {"rsa", "ec"}) {
    module.reset();
    const hwid::test::RunResult result =
        hwid::test::run({"openssl", "dgst", "-sha256", "-sign", world().token.uri(label), "-out",
                         directory.file("signature"), directory.file("message")},
                        options);
    CHECK_MESSAGE(result.exit_code == 0, result.err);
    CHECK(module.count("after-exit") == 0);
    // The whole process: 14 for RSA, 15 for EC at most, the exit handler's C_Finalize included.
    CHECK(module.count("total") <= (label == std::string("rsa") ? 14U : 15U));
    CHECK(module.count("C_Login") == 1);
  }
}
