// An open key goes on signing right whatever the token lost, with no reload by the program: over an
// event, with a signature open over it, and while eight threads sign.
#include "tests/token/life.h"

using namespace hwid::test;
using namespace hwid::test::life;

namespace {

constexpr std::size_t kMostSessions = 6;

const LibraryContext& few_sessions() {
  static const LibraryContext made(world().conf({{"max-sessions", std::to_string(kMostSessions)}}));
  return made;
}

void plan(const std::string& directives) { world().module(directives); }

// What happens, as directives for the module: it waits until no call is in SoftHSM, which crashes
// where a session is closed under a running call.
struct Event {
  const char* name;
  const char* directives;
};

constexpr Event kEvents[] = {
    {"C_CloseAllSessions", "drop-sessions"},
    {"C_Logout", "log-out"},
    {"C_Logout and C_CloseAllSessions", "log-out\ndrop-sessions"},
    {"C_Finalize and C_Initialize", "reinitialize"},
    {"C_Finalize", "finalize"},
    {"one session lost", "drop-session 1"},
    {"two sessions lost", "drop-session 1\ndrop-session 1"},
    {"token removed and returned", "remove-token\ninsert-token"},
    {"CKR_DEVICE_ERROR once, C_SignInit", "fail C_SignInit CKR_DEVICE_ERROR times=1"},
    {"CKR_DEVICE_ERROR once, C_Sign", "fail C_Sign CKR_DEVICE_ERROR times=1"},
    {"CKR_DEVICE_ERROR once, in whatever call", "fail * CKR_DEVICE_ERROR times=1"},
    {"CKR_SESSION_CLOSED once", "fail C_Sign CKR_SESSION_CLOSED times=1"},
};

// The same, called by the program itself.
const std::pair<const char*, std::function<void(const Application&)>> kCalls[] = {
    {"C_CloseAllSessions", [](const Application& own) { own.close_all_sessions(); }},
    {"C_Logout", [](const Application& own) { own.log_out(); }},
    {"C_Finalize and C_Initialize",
     [](const Application& own) {
       CHECK(own.finalize() == CKR_OK);
       CHECK(own.initialize() == CKR_OK);
     }},
    {"C_Finalize", [](const Application& own) { CHECK(own.finalize() == CKR_OK); }},
};

std::size_t open_sessions() {
  return world().module.count("C_OpenSession") - world().module.count("C_CloseSession");
}

// A signature is begun before the event, and another: both end well after it, in either order.
void check_life_over(const Signer& signer, const std::function<void()>& event) {
  Signer::Stream begun = signer.stream();
  Signer::Stream also_begun = signer.stream();
  event();
  CHECK(begun.finish() == "");
  CHECK(signer.failure(2) == "");
  CHECK(also_begun.finish() == "");
  // Healed is healed: from now on a signature is two calls again.
  plan("reset-counts");
  CHECK(signer.failure(3) == "");
  CHECK(world().module.total() == 6);
  CHECK(world().module.count("bad-handle") == 0);
  check_order();
}

}  // namespace

TEST_CASE("life: an open key signs after the program called underneath") {
  const Application own;
  for (const Kind& kind : kKinds) {
    const Signer signer(few_sessions(), kind);
    REQUIRE(signer.failure(3) == "");
    for (const auto& [name, call] : kCalls) {
      CAPTURE(kind.label);
      CAPTURE(kind.pss);
      const auto& which = name;
      CAPTURE(which);
      const auto& calls = call;
      check_life_over(signer, [&] { calls(own); });
    }
  }
  world().module.clear();
}

TEST_CASE("life: an open key signs after every event") {
  for (const Kind& kind : kKinds) {
    const Signer signer(few_sessions(), kind);
    REQUIRE(signer.failure(3) == "");
    for (const Event& event : kEvents) {
      CAPTURE(kind.label);
      CAPTURE(kind.pss);
      CAPTURE(std::string(event.name));
      check_life_over(signer, [&] { plan(event.directives); });
    }
  }
  world().module.clear();
}

TEST_CASE("life: sessions lost one by one, with every one of them in turn") {
  const Signer rsa(few_sessions(), kKinds[0]);
  const Signer ec(few_sessions(), kKinds[2]);
  // Several sessions are open.
  plan("delay-us C_Sign 5000");
  on_threads(4, [&](int) { (void)rsa.signs(2); });
  plan("delay-us C_Sign 0");
  for (const char* const which : {"1", "2", "3", "4"}) {
    CAPTURE(which);
    for (int round = 0; round < 4; ++round) {
      plan(std::string("drop-session ") + which);
      CHECK(rsa.failure() == "");
      CHECK(ec.failure() == "");
    }
  }
  check_order();
  CHECK(world().module.count("peak-sessions") <= kMostSessions);
  world().module.clear();
}

TEST_CASE("life: a removed token is an error that says so, and no more once it is back") {
  for (const Kind& kind : kKinds) {
    const Signer signer(few_sessions(), kind);
    Signer::Stream begun = signer.stream();
    Signer::Stream unlucky = signer.stream();
    plan("remove-token");
    const std::string removed = signer.failure();
    CHECK_MESSAGE(removed.find("put it back") != std::string::npos, removed);
    CHECK(removed.find("object=" + std::string(kind.label)) != std::string::npos);
    CHECK(unlucky.finish().find("put it back") != std::string::npos);
    CHECK(signer.failure() != "");
    plan("insert-token");
    CHECK(begun.finish() == "");
    CHECK(signer.failure(3) == "");
    check_order();
  }
  world().module.clear();
}

// Between two events every thread makes a signature: the promise is to heal from each event, not
// from events that come faster than one signature.
TEST_CASE("life: eight threads sign on over every event") {
  const Signer signers[] = {
      {few_sessions(), kKinds[0]}, {few_sessions(), kKinds[1]}, {few_sessions(), kKinds[2]}};
  plan("reset-counts");
  std::atomic<bool> stop{false};
  std::atomic<int> bad{0};
  std::atomic<int> made[8] = {};
  std::thread work([&] {
    on_threads(8, [&](int thread) {
      const Signer& signer = signers[thread % 3];
      while (!stop) {
        Signer::Stream begun = signer.stream();
        if (!signer.signs() || !Signer::none(begun.finish())) ++bad;
        ++made[thread];
      }
    });
  });
  const auto every_thread_signs = [&] {
    int before[8];
    for (int i = 0; i < 8; ++i) before[i] = made[i];
    return wait_until([&] {
      for (int i = 0; i < 8; ++i) {
        if (made[i] < before[i] + 2) return false;
      }
      return true;
    });
  };
  for (int round = 0; round < 3; ++round) {
    for (const Event& event : kEvents) {
      CAPTURE(std::string(event.name));
      const int failures = bad;
      plan(event.directives);
      CHECK(every_thread_signs());
      CHECK(bad == failures);
    }
  }
  stop = true;
  work.join();
  CHECK(bad == 0);
  // What is opened before anybody sees that the numbers start anew (C_Finalize) no longer counts.
  constexpr std::uint64_t kMostOpenUnseen = 7;
  CHECK(world().module.count("peak-sessions") <= kMostSessions + kMostOpenUnseen);
  world().module.clear();
  for (const Signer& signer : signers) CHECK(signer.failure(3) == "");
  CHECK(world().module.count("bad-handle") == 0);
  CHECK(open_sessions() <= kMostSessions + kMostOpenUnseen);
  check_order();
}

// Numbers of sessions start anew after C_Finalize and C_Initialize: an operation under way then
// meets another thread's session under its own number.
TEST_CASE("life: a signature under way while the module is initialized anew is never another's") {
  const Signer rsa(few_sessions(), kKinds[0]);
  const Signer ec(few_sessions(), kKinds[2]);
  for (int round = 0; round < 3; ++round) {
    REQUIRE(rsa.failure(2) == "");
    REQUIRE(ec.failure(2) == "");
    plan("reinitialize");
    REQUIRE(rsa.failure() == "");  // the only session, number one
    plan(
        "at C_Sign nth=1 reinitialize\n"
        "delay-us C_Sign 300000 nth=1 times=1\n"
        "delay-us C_Sign 600000 nth=2 times=1");
    std::string of_rsa;
    std::string of_ec;
    std::thread first([&] { of_rsa = rsa.failure(); });
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    std::thread second([&] { of_ec = ec.failure(); });
    first.join();
    second.join();
    CHECK(of_rsa == "");
    CHECK(of_ec == "");
    world().module.clear();
  }
}

// The next C_Initialize waits for calls that began under the one before: their handles are others'
// by then, and SoftHSM 2.6.1 signs with an EC key by an RSA mechanism, and crashes.
TEST_CASE("life: a call under way while another thread initializes anew does not meet its keys") {
  const Signer rsa(few_sessions(), kKinds[0]);
  const Signer ec(few_sessions(), kKinds[2]);
  REQUIRE(rsa.failure() == "");
  plan(
      "reset-counts\n"
      "record on\n"
      "at C_SignInit nth=1 finalize\n"
      "delay-us C_SignInit 300000 nth=1 times=1");
  std::string of_rsa;
  std::thread first([&] { of_rsa = rsa.failure(); });
  const bool begun = wait_until([] { return world().module.count("C_SignInit") > 0; });
  const std::string of_ec = ec.failure();
  first.join();
  CHECK(begun);
  CHECK(of_rsa == "");
  CHECK(of_ec == "");
  const std::string calls = world().module.record();
  CAPTURE(calls);
  CHECK(calls.find("C_SignInit CKR_CRYPTOKI_NOT_INITIALIZED\n") == calls.find("C_SignInit"));
  plan("record off");
  world().module.clear();
}
