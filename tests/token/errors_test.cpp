// Errors that need more than a command: a wrong PIN costs one try of the token's few, however many
// workers and threads have it; a key that may not sign.
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <p11-kit/pkcs11.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/token/world.h"

using namespace hwid::test;

namespace {

// What opening the key fails with; empty if it does not.
std::string failure(const LibraryContext& context, const std::string& uri) {
  try {
    (void)context.private_key(uri);
    return {};
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// The PIN is in the configuration: a test's own words hold the URI.
LibraryContext context_with_pin(const TemporaryDirectory& directory, const std::string& pin) {
  const std::string file = directory.file(pin);
  write_file(file, pin + "\n");
  return LibraryContext(world().conf({{"pin-source", "file:" + file}}));
}

// Runs `work` in this many children; the number of those in which it was true.
template <typename Work>
int in_children(int number, Work work) {
  std::vector<pid_t> children;
  for (int i = 0; i < number; ++i) {
    const pid_t child = fork();
    if (child == 0) _exit(work() ? 0 : 1);
    if (child > 0) children.push_back(child);
  }
  int good = 0;
  for (const pid_t child : children) {
    int status = -1;
    if (waitpid(child, &status, 0) == child && status == 0) ++good;
  }
  return good;
}

// CKA_SIGN of a private key becomes false. REQUIRES: the provider is logged in.
void forbid_signing(std::string label) {
  void* const library = dlopen(world().module.path().c_str(), RTLD_NOW);
  REQUIRE(library != nullptr);
  const auto get = reinterpret_cast<CK_C_GetFunctionList>(dlsym(library, "C_GetFunctionList"));
  CK_FUNCTION_LIST* p11 = nullptr;
  REQUIRE(get(&p11) == CKR_OK);
  CK_SLOT_ID slots[8];
  CK_ULONG count = 8;
  REQUIRE(p11->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK);
  CK_SESSION_HANDLE session = 0;
  REQUIRE(p11->C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr,
                             &session) == CKR_OK);
  CK_OBJECT_CLASS private_key = CKO_PRIVATE_KEY;
  CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &private_key, sizeof private_key},
                           {CKA_LABEL, label.data(), label.size()}};
  CK_OBJECT_HANDLE key = 0;
  REQUIRE(p11->C_FindObjectsInit(session, wanted, 2) == CKR_OK);
  REQUIRE(p11->C_FindObjects(session, &key, 1, &count) == CKR_OK);
  REQUIRE(p11->C_FindObjectsFinal(session) == CKR_OK);
  REQUIRE(count == 1);
  CK_BBOOL no = CK_FALSE;
  CK_ATTRIBUTE sign_flag = {CKA_SIGN, &no, sizeof no};
  REQUIRE(p11->C_SetAttributeValue(session, key, &sign_flag, 1) == CKR_OK);
  CHECK(p11->C_CloseSession(session) == CKR_OK);
}

}  // namespace

TEST_CASE("errors: PIN: a wrong one costs one try, with eight workers forked after") {
  const TemporaryDirectory directory;
  const LibraryContext context = context_with_pin(directory, "86421357");
  const ModuleControl& module = world().module;
  const std::uint64_t before = module.count("C_Login");
  const std::string first = failure(context, "hwid:device");
  CHECK(contains(first, "C_Login: CKR_PIN_INCORRECT (0xa0)"));
  CHECK(contains(first, "the PIN is wrong; correct it"));
  CHECK(module.count("C_Login") - before == 1);
  CHECK(in_children(8, [&] {
          const std::string again = failure(context, "hwid:device");
          return contains(again, "this PIN was refused before, and is not sent again") &&
                 !contains(again, "86421357");
        }) == 8);
  CHECK(contains(failure(context, "hwid:device"), "this PIN was refused before"));
  CHECK(module.count("C_Login") - before == 1);
  CHECK(!contains(first, "86421357"));
}

TEST_CASE("errors: PIN: a wrong one costs one try, with eight threads at once") {
  const TemporaryDirectory directory;
  const LibraryContext context = context_with_pin(directory, "97531246");
  const std::uint64_t before = world().module.count("C_Login");
  std::atomic<int> refused = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      if (contains(failure(context, "hwid:device"), "PIN")) ++refused;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(refused == 8);
  CHECK(world().module.count("C_Login") - before == 1);
}

TEST_CASE("errors: PIN: the right one after a wrong one, and in workers") {
  const TemporaryDirectory directory;
  const LibraryContext wrong = context_with_pin(directory, "13572468");
  CHECK(contains(failure(wrong, "hwid:device"), "CKR_PIN_INCORRECT"));
  const LibraryContext right(world().conf());
  CHECK(failure(right, "hwid:device").empty());
  CHECK(in_children(8, [&] { return failure(right, "hwid:device").empty(); }) == 8);
}

TEST_CASE("errors: PIN: a final try is not used up by eight workers") {
  const ModuleControl& module = world().module;
  const LibraryContext context(world().conf());
  module("log-out\ndrop-sessions\ntoken-flags +0x20000");
  const std::uint64_t before = module.count("C_Login");
  const std::string uri = world().token.uri("ec");
  CHECK(in_children(8, [&] {
          return contains(failure(context, uri), "one more wrong PIN locks the token");
        }) == 8);
  CHECK(module.count("C_Login") == before);
  module("clear");
  CHECK(failure(context, uri).empty());
}

TEST_CASE("errors: a key that may not sign says so, and what to do") {
  const LibraryContext context(world().conf());
  REQUIRE(failure(context, "hwid:device").empty());  // logged in
  forbid_signing("ec384");
  const EvpPkey key = context.private_key(world().token.uri("ec384"));
  std::string text;
  try {
    (void)sign(context.get(), key.get(), "SHA256", "message");
  } catch (const std::runtime_error& error) {
    text = error.what();
  }
  CAPTURE(text);
  CHECK(contains(text, "C_SignInit: CKR_KEY_FUNCTION_NOT_PERMITTED (0x68)"));
  CHECK(contains(text, "object=ec384: the key may not sign: CKA_SIGN is false; use a signing key"));
}
