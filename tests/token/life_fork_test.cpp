// Forks at awkward moments: both sides go on, and both are right.
#include <spawn.h>

#include <csignal>

#include "tests/token/life.h"

using namespace hwid::test;
using namespace hwid::test::life;

namespace {

const LibraryContext& few_sessions() {
  static const LibraryContext made(world().conf({{"max-sessions", "4"}}));
  return made;
}

// Tests are about the provider, with modules that want C_Initialize in a child and that do not.
const char* const kForkRules[] = {"strict-fork off", "strict-fork on"};

}  // namespace

TEST_CASE("life: fork in the middle of a streaming signature") {
  for (const char* const rule : kForkRules) {
    world().module(rule);
    for (const Kind& kind : kKinds) {
      const Signer signer(few_sessions(), kind);
      Signer::Stream begun = signer.stream();
      const pid_t child = start_child([&] {
        // The grandchild ends what its grandparent began; the child ends it as well.
        const pid_t grandchild =
            start_child([&] { return Signer::none(begun.finish()) && signer.signs(2); });
        const bool good = status_of(grandchild) == 0;
        return Signer::none(begun.finish()) && signer.signs(2) && good;
      });
      CHECK(status_of(child) == 0);
      CHECK(begun.finish() == "");
      CHECK(signer.failure(2) == "");
    }
    world().module.clear();
  }
}

TEST_CASE("life: eight streaming signatures, each ended in a child of its own and here") {
  const Signer rsa(few_sessions(), kKinds[1]);
  const Signer ec(few_sessions(), kKinds[2]);
  std::vector<Signer::Stream> begun;
  std::vector<pid_t> children;
  for (int i = 0; i < 8; ++i) begun.push_back((i % 2 == 0 ? rsa : ec).stream());
  for (Signer::Stream& stream : begun)
    children.push_back(start_child([&] { return Signer::none(stream.finish()); }));
  for (Signer::Stream& stream : begun) CHECK(stream.finish() == "");
  for (const pid_t child : children) CHECK(status_of(child) == 0);
}

TEST_CASE("life: four generations, each signs before and after it has a child") {
  const Signer signer(few_sessions(), kKinds[2]);
  const std::function<bool(int)> live = [&](int generations) {
    if (!signer.signs()) return false;
    if (generations > 0 && !in_child([&] { return live(generations - 1); })) return false;
    return signer.signs();
  };
  for (const char* const rule : kForkRules) {
    world().module(rule);
    CHECK(live(4));
    world().module.clear();
  }
}

TEST_CASE("life: fork inside the passphrase callback") {
  const LibraryContext own = context_without_pin();
  for (const char* const label : {"rsa", "ec"}) {
    CAPTURE(std::string(label));
    world().module("log-out");
    std::vector<pid_t> children;
    int asked = 0;
    EvpPkey key = open_with_prompt(own, world().token.uri(label), [&]() -> std::string {
      ++asked;
      // One that leaves at once, as a pinentry does that is run by fork and exec.
      children.push_back(start_child([] { return true; }));
      // One that opens the key by itself, with a PIN.
      children.push_back(start_child([&] {
        return Signer(own, own.private_key(world().token.uri(label, true)), false).signs(2);
      }));
      for (const pid_t child : children) CHECK(status_of(child) == 0);
      return SoftHsmToken::kPin;
    });
    CHECK(asked == 1);
    REQUIRE_MESSAGE(key, openssl_errors());
    const Signer signer(own, std::move(key), false);
    CHECK(signer.failure(2) == "");
    CHECK(in_child([&] { return signer.signs(2); }));
  }
  world().module.clear();
}

// The parent goes on when the child is through: SoftHSM takes a token for uninitialized while
// another process logs in and writes the token's file.
TEST_CASE("life: a child that is forked inside the passphrase callback returns from it") {
  const LibraryContext own = context_without_pin();
  for (const auto& [rule, label] :
       {std::pair(kForkRules[0], "ec384"), std::pair(kForkRules[1], "ec521")}) {
    const auto& which = rule;
    CAPTURE(std::string(which));
    world().module("log-out");
    world().module(rule);
    pid_t child = -1;
    int status = -1;
    EvpPkey key = open_with_prompt(own, world().token.uri(label), [&] {
      child = fork();
      if (child == 0)
        alarm(60);
      else
        status = status_of(child);
      return std::string(SoftHsmToken::kPin);
    });
    bool good = false;
    if (key)
      good = Signer(own, std::move(key), false).signs(3);
    else
      (void)Signer::none(openssl_errors());
    if (child == 0) _exit(good ? 0 : 1);
    CHECK(good);
    CHECK(status == 0);
    world().module.clear();
  }
}

// The others sleep in the test module, with sessions leased and no lock of OpenSSL or SoftHSM held:
// only the provider's own could be in the child's way.
TEST_CASE("life: fork while other threads are in the middle of a signature") {
  const Signer rsa(few_sessions(), kKinds[0]);
  const Signer ec(few_sessions(), kKinds[2]);
  REQUIRE(rsa.failure(2) == "");
  REQUIRE(ec.failure(2) == "");
  for (int round = 0; round < 3; ++round) {
    world().module("delay-us C_Sign 400000\nreset-counts");
    std::atomic<int> good{0};
    std::thread threads([&] { on_threads(6, [&](int) { good += ec.signs() ? 1 : 0; }); });
    CHECK(wait_until([] { return world().module.count("C_Sign") >= 4; }));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::vector<pid_t> children;
    for (int i = 0; i < 2; ++i)
      children.push_back(start_child([&] { return rsa.signs() && ec.signs(); }));
    for (const pid_t child : children) CHECK(status_of(child) == 0);
    threads.join();
    CHECK(good == 6);
    check_order();
    world().module.clear();
  }
}

TEST_CASE("life: vfork and posix_spawn while threads sign") {
  const Signer rsa(few_sessions(), kKinds[0]);
  const Signer ec(few_sessions(), kKinds[2]);
  std::atomic<bool> stop{false};
  std::atomic<int> bad{0};
  std::thread work([&] {
    on_threads(4, [&](int thread) {
      while (!stop) bad += (thread % 2 == 0 ? rsa : ec).signs() ? 0 : 1;
    });
  });
  char program[] = "/bin/true";
  char* const argv[] = {program, nullptr};
  for (int round = 0; round < 20; ++round) {
    pid_t child = -1;
    CHECK(posix_spawn(&child, program, nullptr, nullptr, argv, environ) == 0);
    CHECK(status_of(child) == 0);
    child = vfork();  // NOLINT(clang-analyzer-security.insecureAPI.vfork): what is tested
    if (child == 0) {
      execv(program, argv);
      _exit(1);
    }
    CHECK(status_of(child) == 0);
  }
  CHECK(ec.failure(2) == "");
  stop = true;
  work.join();
  CHECK(bad == 0);
  // The memory of a vforked child is ours: it must not have made the process look like a child.
  world().module("reset-counts");
  CHECK(ec.failure(2) == "");
  CHECK(world().module.count("C_OpenSession") == 0);
  CHECK(world().module.count("C_Initialize") == 0);
  world().module.clear();
}

TEST_CASE("life: a child heals, and its parent's sessions are left alone") {
  const Signer signer(few_sessions(), kKinds[2]);
  REQUIRE(signer.failure() == "");
  world().module("reset-counts");
  CHECK(in_child([&] {
    world().module("drop-sessions");
    if (!signer.signs(2)) return false;
    world().module("reinitialize");
    return signer.signs(2);
  }));
  const auto before = world().module.count("C_OpenSession");
  CHECK(signer.failure(3) == "");
  CHECK(world().module.count("C_OpenSession") == before);
  check_order();
  world().module.clear();
}
