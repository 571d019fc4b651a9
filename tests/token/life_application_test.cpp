// The application uses the same module itself: before the provider, beside it, and after it.
// Neither is in the other's way. The first case needs a process in which nobody used the module
// yet.
#include "tests/token/life.h"

using namespace hwid::test;
using namespace hwid::test::life;

namespace {

constexpr CK_ULONG kPrivateKeys = 5;

}  // namespace

TEST_CASE("life: an application that was there first, and stays after the provider is gone") {
  const Application own;
  REQUIRE(own.initialize() == CKR_OK);
  const CK_SESSION_HANDLE session = own.open_session();
  REQUIRE(own.log_in(session) == CKR_OK);
  CHECK(own.private_keys(session) == kPrivateKeys);
  for (const Kind& kind : kKinds) {
    const LibraryContext context(world().conf({{"max-sessions", "4"}}));
    const Signer signer(context, kind);
    CHECK(signer.failure(3) == "");
    // The application's search is under way while the key signs.
    CK_OBJECT_HANDLE found = 0;
    CK_ULONG count = 0;
    CHECK(own->C_FindObjectsInit(session, nullptr, 0) == CKR_OK);
    CHECK(own->C_FindObjects(session, &found, 1, &count) == CKR_OK);
    CHECK(signer.failure(2) == "");
    on_threads(8, [&](int) { CHECK(signer.failure(5) == ""); });
    CHECK(own->C_FindObjects(session, &found, 1, &count) == CKR_OK);
    CHECK(count == 1);
    CHECK(own->C_FindObjectsFinal(session) == CKR_OK);
  }
  // The application's session, login and C_Initialize are still its own.
  CHECK(own.private_keys(session) == kPrivateKeys);
  CHECK(world().module.count("C_Logout") == 0);
  CHECK(world().module.count("C_Finalize") == 0);
  CHECK(world().module.count("C_CloseAllSessions") == 0);
  CHECK(world().module.count("bad-handle") == 0);
  check_order();
  CHECK(own->C_Logout(session) == CKR_OK);
  CHECK(own.finalize() == CKR_OK);
  world().module.clear();
}

TEST_CASE("life: an application that logs in, out, finalizes and begins anew beside an open key") {
  const Application own;
  const LibraryContext context(world().conf({{"max-sessions", "4"}}));
  for (const Kind& kind : kKinds) {
    CAPTURE(std::string(kind.label));
    const Signer signer(context, kind);
    REQUIRE(signer.failure(2) == "");
    CHECK(own.initialize() == CKR_CRYPTOKI_ALREADY_INITIALIZED);
    const CK_SESSION_HANDLE session = own.open_session();
    CHECK(own.log_in(session) == CKR_USER_ALREADY_LOGGED_IN);
    CHECK(own.private_keys(session) == kPrivateKeys);
    CHECK(signer.failure() == "");

    Signer::Stream begun = signer.stream();
    CHECK(own->C_Logout(session) == CKR_OK);
    CHECK(own.log_in(session) == CKR_OK);  // handles are new, the login is not ours
    CHECK(begun.finish() == "");
    CHECK(signer.failure(2) == "");
    CHECK(own->C_CloseSession(session) == CKR_OK);
    CHECK(signer.failure(2) == "");

    CHECK(own.finalize() == CKR_OK);
    CHECK(own.initialize() == CKR_OK);
    CHECK(signer.failure(2) == "");
    CHECK(own.finalize() == CKR_OK);
    CHECK(signer.failure(2) == "");
    CHECK(own.initialize() == CKR_CRYPTOKI_ALREADY_INITIALIZED);  // the provider did
    own.close_all_sessions();
    CHECK(signer.failure(2) == "");
    check_order();
  }
  world().module.clear();
}

// Sessions are numbered from one again: the application's have the numbers that ours had.
TEST_CASE("life: an application's sessions after its own C_Initialize are not closed") {
  const Application own;
  const LibraryContext context(world().conf({{"max-sessions", "4"}}));
  for (const char* const label : {"rsa", "ec"}) {
    CAPTURE(std::string(label));
    const Signer signer(context, {label, false});
    on_threads(4, [&](int) { (void)signer.signs(3); });
    CHECK(own.finalize() == CKR_OK);
    CHECK(own.initialize() == CKR_OK);
    const CK_SESSION_HANDLE sessions[] = {own.open_session(), own.open_session()};
    on_threads(4, [&](int) { CHECK(signer.failure(3) == ""); });
    for (const CK_SESSION_HANDLE session : sessions) {
      CK_SESSION_INFO info{};
      CHECK(own->C_GetSessionInfo(session, &info) == CKR_OK);
    }
  }
  world().module.clear();
}

TEST_CASE("life: an application signs by itself with the same key while threads sign with it") {
  const Application own;
  const LibraryContext context(world().conf({{"max-sessions", "4"}}));
  const Signer signer(context, kKinds[0]);
  REQUIRE(signer.failure() == "");
  const CK_SESSION_HANDLE session = own.open_session();
  CK_OBJECT_CLASS wanted = CKO_PRIVATE_KEY;
  std::string label = "rsa";
  CK_ATTRIBUTE same[] = {{CKA_CLASS, &wanted, sizeof wanted},
                         {CKA_LABEL, label.data(), label.size()}};
  CK_OBJECT_HANDLE key = 0;
  CK_ULONG count = 0;
  REQUIRE(own->C_FindObjectsInit(session, same, 2) == CKR_OK);
  REQUIRE(own->C_FindObjects(session, &key, 1, &count) == CKR_OK);
  REQUIRE(own->C_FindObjectsFinal(session) == CKR_OK);
  REQUIRE(count == 1);
  std::atomic<int> good{0};
  on_threads(5, [&](int thread) {
    if (thread > 0) {
      good += signer.signs(20) ? 1 : 0;
      return;
    }
    CK_MECHANISM mechanism{CKM_SHA256_RSA_PKCS, nullptr, 0};
    for (int round = 0; round < 20; ++round) {
      unsigned char message[] = "message";
      unsigned char signature[256];
      CK_ULONG size = sizeof signature;
      if (own->C_SignInit(session, &mechanism, key) != CKR_OK ||
          own->C_Sign(session, message, 7, signature, &size) != CKR_OK || size != sizeof signature)
        return;
    }
    ++good;
  });
  CHECK(good == 5);
  CHECK(own->C_CloseSession(session) == CKR_OK);
  check_order();
  world().module.clear();
}
