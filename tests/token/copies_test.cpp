// Copies of keys in a session, which SoftHSM signs faster with.
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <openssl/store.h>
#include <p11-kit/pkcs11.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tests/token/world.h"

using hwid::test::context;
using hwid::test::EvpPkey;
using hwid::test::key;
using hwid::test::LibraryContext;
using hwid::test::software_public;
using hwid::test::world;

namespace {

void signs(EVP_PKEY* pkey, int times, const LibraryContext& with = context()) {
  const EvpPkey judge = software_public(pkey);
  for (int round = 0; round < times; ++round) {
    const std::string signature = hwid::test::sign(with.get(), pkey, "SHA256", "message");
    CHECK(hwid::test::verifies(judge.get(), "SHA256", "message", signature));
  }
}

// Copies die with the sessions: the next signature is the first again.
void start_afresh() {
  world().module("clear");
  world().module("drop-sessions");
  const EvpPkey other = key("ec521");
  signs(other.get(), 1);
  world().module("reset-counts");
}

std::uint64_t copies() { return world().module.count("C_CopyObject"); }

struct Flags {
  CK_BBOOL sensitive = CK_FALSE;
  CK_BBOOL extractable = CK_TRUE;
};

// Private keys that are session objects, as another user of the module sees them.
std::vector<Flags> session_keys() {
  void* const library = dlopen(world().module.path().c_str(), RTLD_NOW | RTLD_LOCAL);
  REQUIRE(library != nullptr);
  const auto get = reinterpret_cast<CK_C_GetFunctionList>(dlsym(library, "C_GetFunctionList"));
  CK_FUNCTION_LIST* module = nullptr;
  REQUIRE(get(&module) == CKR_OK);
  CK_SLOT_ID slots[16];
  CK_ULONG count = 16;
  REQUIRE(module->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK);
  CK_SESSION_HANDLE session = 0;
  REQUIRE(module->C_OpenSession(slots[0], CKF_SERIAL_SESSION, nullptr, nullptr, &session) ==
          CKR_OK);
  CK_BBOOL no = CK_FALSE;
  CK_OBJECT_CLASS private_key = CKO_PRIVATE_KEY;
  CK_ATTRIBUTE wanted[] = {{CKA_TOKEN, &no, sizeof no},
                           {CKA_CLASS, &private_key, sizeof private_key}};
  REQUIRE(module->C_FindObjectsInit(session, wanted, 2) == CKR_OK);
  CK_OBJECT_HANDLE found[16];
  REQUIRE(module->C_FindObjects(session, found, 16, &count) == CKR_OK);
  REQUIRE(module->C_FindObjectsFinal(session) == CKR_OK);
  std::vector<Flags> flags(count);
  for (CK_ULONG i = 0; i < count; ++i) {
    CK_ATTRIBUTE asked[] = {{CKA_SENSITIVE, &flags[i].sensitive, sizeof(CK_BBOOL)},
                            {CKA_EXTRACTABLE, &flags[i].extractable, sizeof(CK_BBOOL)}};
    REQUIRE(module->C_GetAttributeValue(session, found[i], asked, 2) == CKR_OK);
  }
  REQUIRE(module->C_CloseSession(session) == CKR_OK);
  dlclose(library);
  return flags;
}

int private_keys_listed(const LibraryContext& with) {
  OSSL_STORE_CTX* const store = OSSL_STORE_open_ex("pkcs11:type=private", with.get(), nullptr,
                                                   nullptr, nullptr, nullptr, nullptr, nullptr);
  REQUIRE(store != nullptr);
  int seen = 0;
  while (OSSL_STORE_eof(store) == 0) {
    OSSL_STORE_INFO* const info = OSSL_STORE_load(store);
    if (info != nullptr && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY) ++seen;
    OSSL_STORE_INFO_free(info);
  }
  OSSL_STORE_close(store);
  return seen;
}

}  // namespace

TEST_CASE("copies: the second signature makes one, which is as safe as the key") {
  start_afresh();
  const EvpPkey ec = key("ec");
  signs(ec.get(), 1);
  CHECK(copies() == 0);
  signs(ec.get(), 1);
  CHECK(copies() == 1);
  world().module("reset-counts");
  signs(ec.get(), 3);
  CHECK(world().module.total() == 6);
  const std::vector<Flags> seen = session_keys();
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].sensitive == CK_TRUE);
  CHECK(seen[0].extractable == CK_FALSE);
}

TEST_CASE("copies: nobody finds the key twice") {
  start_afresh();
  const EvpPkey ec = key("ec384");
  signs(ec.get(), 2);
  REQUIRE(session_keys().size() == 1);
  const LibraryContext fresh(world().conf());
  CHECK(fresh.private_key(world().token.uri("ec384")));
  CHECK(fresh.private_key("pkcs11:token=" + world().token.label() + ";id=%04"));
  CHECK(private_keys_listed(fresh) == 5);
}

TEST_CASE("copies: one serves eight threads and a second library context") {
  start_afresh();
  const EvpPkey ec = key("ec384");
  const LibraryContext second(world().conf());
  const EvpPkey again = second.private_key(world().token.uri("ec384"));
  const EvpPkey judge = software_public(ec.get());
  signs(ec.get(), 1);
  signs(again.get(), 1, second);
  world().module("reset-counts");
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&, thread] {
      const LibraryContext& with = thread % 2 == 0 ? context() : second;
      EVP_PKEY* const pkey = thread % 2 == 0 ? ec.get() : again.get();
      for (int round = 0; round < 10; ++round) {
        const std::string signature = hwid::test::sign(with.get(), pkey, "SHA256", "message");
        good += hwid::test::verifies(judge.get(), "SHA256", "message", signature) ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(good == 80);
  CHECK(copies() == 1);
  CHECK(world().module.count("shared-session") == 0);
  CHECK(world().module.total() == 2 * 80 + 1 + world().module.count("C_OpenSession"));
}

TEST_CASE("copies: a token that refuses is asked once, and the key itself signs") {
  start_afresh();
  world().module("fail C_CopyObject 0x1b");
  const EvpPkey rsa = key("rsa");
  signs(rsa.get(), 5);
  CHECK(copies() == 1);
  CHECK(world().module.count("C_Sign") == 5);
}

TEST_CASE("copies: when one dies the key itself signs, and another is made") {
  start_afresh();
  const EvpPkey rsa = key("rsa");
  signs(rsa.get(), 2);
  REQUIRE(copies() == 1);
  world().module("fail C_SignInit CKR_OBJECT_HANDLE_INVALID times=1");
  signs(rsa.get(), 1);
  CHECK(copies() == 1);
  signs(rsa.get(), 3);
  CHECK(copies() == 2);
  for (int death = 0; death < 30; ++death) {  // where they do not last, none are made any more
    world().module("fail C_SignInit CKR_OBJECT_HANDLE_INVALID times=1");
    signs(rsa.get(), 3);
  }
  CHECK(copies() < 20);
  world().module("clear");
}

// SoftHSM crashes where a session goes while another is about to sign with an object of its.
TEST_CASE("copies: the session of one stays open while another signature may use it") {
  start_afresh();
  const EvpPkey ec = key("ec");
  signs(ec.get(), 2);
  world().module(
      "reset-counts\nfail C_Sign CKR_DEVICE_ERROR times=1\n"
      "delay-us C_Sign 200000 nth=1 times=1\ndelay-us C_SignInit 1500000 nth=2 times=1");
  std::thread loses_its_session([&] { signs(ec.get(), 1); });
  CHECK(hwid::test::wait_until([] { return world().module.count("C_Sign") == 1; }));
  std::atomic<bool> done{false};
  std::thread uses_the_copy([&] {
    signs(ec.get(), 1);
    done = true;
  });
  loses_its_session.join();
  const std::uint64_t closed = world().module.count("C_CloseSession");
  CHECK(!done);
  CHECK(closed == 0);
  uses_the_copy.join();
  CHECK(world().module.count("C_CloseSession") > 0);
  world().module("clear");
}

TEST_CASE("copies: cache-keys = no makes none") {
  start_afresh();
  const LibraryContext without(world().conf({{"cache-keys", "no"}}));
  const EvpPkey rsa = without.private_key(world().token.uri("rsa3072"));
  signs(rsa.get(), 4, without);
  CHECK(copies() == 0);
}

TEST_CASE("copies: a forked child makes its own") {
  start_afresh();
  const EvpPkey ec = key("ec");
  signs(ec.get(), 2);
  const pid_t pid = fork();
  if (pid == 0) {
    world().module("reset-counts");
    try {
      signs(ec.get(), 3);
    } catch (const std::exception& error) {
      fprintf(stderr, "%s\n", error.what());
      _exit(1);
    }
    _exit(copies() == 1 ? 0 : 2);
  }
  signs(ec.get(), 3);
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
