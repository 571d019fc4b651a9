// What the test module can be told, one case a directive. (The older ones are tested in
// tests/fixture/test_module_test.cpp.)
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <p11-kit/pkcs11.h>

#include <chrono>
#include <cstring>
#include <string>

#include "tests/fixture/module_control.h"
#include "tests/fixture/softhsm.h"

using namespace hwid::test;

namespace {

CK_RV no_mutex(void**) { return CKR_OK; }
CK_RV no_lock(void*) { return CKR_OK; }
CK_RV no_notice(CK_SESSION_HANDLE, CK_NOTIFICATION, void*) { return CKR_OK; }

struct World {
  World() : token("line") {
    token.generate({.type = "ec:P-256", .label = "device", .id = "01"});
    token.use_in_this_process();
    library = dlopen(control.path().c_str(), RTLD_NOW);
    REQUIRE(library != nullptr);
    const auto get = reinterpret_cast<CK_C_GetFunctionList>(dlsym(library, "C_GetFunctionList"));
    REQUIRE(get(&p11) == CKR_OK);
  }
  // Initialized, logged in, nothing planned.
  void begin() {
    control("clear");
    p11->C_Finalize(nullptr);
    CK_C_INITIALIZE_ARGS args{};
    args.flags = CKF_OS_LOCKING_OK;
    REQUIRE(p11->C_Initialize(&args) == CKR_OK);
    CK_SLOT_ID slots[8];
    CK_ULONG count = 8;
    REQUIRE(p11->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK);
    slot = slots[0];
    REQUIRE(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, nullptr, nullptr, &session) == CKR_OK);
    CK_UTF8CHAR pin[] = {'1', '1', '1', '1'};
    REQUIRE(p11->C_Login(session, CKU_USER, pin, sizeof pin) == CKR_OK);
    control("reset-counts");
  }
  CK_ULONG find(CK_OBJECT_HANDLE* objects, CK_ULONG room) const {
    CK_ULONG count = 0;
    CHECK(p11->C_FindObjectsInit(session, nullptr, 0) == CKR_OK);
    CHECK(p11->C_FindObjects(session, objects, room, &count) == CKR_OK);
    CHECK(p11->C_FindObjectsFinal(session) == CKR_OK);
    return count;
  }
  // With `sort-objects on` the public object comes first.
  CK_OBJECT_HANDLE key() const {
    control("sort-objects on");
    CK_OBJECT_HANDLE objects[4] = {};
    REQUIRE(find(objects, 4) == 2);
    return objects[1];
  }
  CK_RV sign(CK_OBJECT_HANDLE object, CK_ULONG& size) const {
    CK_MECHANISM mechanism = {CKM_ECDSA, nullptr, 0};
    if (const CK_RV rv = p11->C_SignInit(session, &mechanism, object); rv != CKR_OK) return rv;
    CK_BYTE digest[32] = {1};
    CK_BYTE signature[128];
    size = sizeof signature;
    return p11->C_Sign(session, digest, sizeof digest, signature, &size);
  }
  CK_RV info() const {
    CK_SESSION_INFO unused{};
    return p11->C_GetSessionInfo(session, &unused);
  }

  ModuleControl control;
  SoftHsmToken token;
  void* library = nullptr;
  CK_FUNCTION_LIST* p11 = nullptr;
  CK_SLOT_ID slot = 0;
  CK_SESSION_HANDLE session = 0;
};

World& begun() {
  static World world;
  world.begin();
  return world;
}

}  // namespace

TEST_CASE("directives: a fault of * strikes the nth call of any function") {
  const World& w = begun();
  const CK_OBJECT_HANDLE key = w.key();
  CK_ULONG size = 0;
  w.control("fail * CKR_DEVICE_ERROR nth=2 times=1");
  CHECK(w.sign(key, size) == CKR_DEVICE_ERROR);  // C_Sign
  CHECK(w.sign(key, size) == CKR_OK);
  w.control("fail * CKR_DEVICE_ERROR nth=3 times=1");
  CHECK(w.sign(key, size) == CKR_OK);
  CHECK(w.info() == CKR_DEVICE_ERROR);
  CHECK(w.info() == CKR_OK);
  w.control("fail * CKR_DEVICE_ERROR\nno-fail C_GetSessionInfo");
  CHECK(w.info() == CKR_OK);
  CHECK(w.sign(key, size) == CKR_DEVICE_ERROR);
}

TEST_CASE("directives: lengths and counts are told wrongly, once or always") {
  const World& w = begun();
  const CK_OBJECT_HANDLE key = w.key();
  CK_ULONG size = 0;
  for (const auto& [lie, told] : {std::pair("too-small", CK_ULONG{63}),
                                  {"too-large", 65},
                                  {"huge", 0x7fffffff},
                                  {"unavailable", CK_UNAVAILABLE_INFORMATION}}) {
    w.control(std::string("lie C_Sign ") + lie + " times=1");
    CHECK(w.sign(key, size) == CKR_OK);
    CHECK(size == told);
    CHECK(w.sign(key, size) == CKR_OK);
    CHECK(size == 64);
  }
  CK_OBJECT_HANDLE objects[4] = {};
  w.control("lie C_FindObjects too-large nth=2 times=1");
  CHECK(w.find(objects, 4) == 2);
  CHECK(w.find(objects, 4) == 3);
  w.control("lie C_GetSlotList huge");
  CK_ULONG count = 0;
  CHECK(w.p11->C_GetSlotList(CK_TRUE, nullptr, &count) == CKR_OK);
  CHECK(count == 0x7fffffff);
  CK_KEY_TYPE type = 0;
  CK_BBOOL sign = CK_FALSE;
  CK_ATTRIBUTE asked[] = {{CKA_KEY_TYPE, &type, sizeof type}, {CKA_SIGN, &sign, sizeof sign}};
  w.control("lie C_GetAttributeValue too-small attribute=0x108");
  CHECK(w.p11->C_GetAttributeValue(w.session, key, asked, 2) == CKR_OK);
  CHECK(asked[0].ulValueLen == sizeof type);
  CHECK(asked[1].ulValueLen == 0);
  CHECK_THROWS(w.control("lie C_Login huge"));
  CHECK_THROWS(w.control("lie C_Sign blank"));
}

TEST_CASE("directives: texts of infos are blank, full, or ended by a NUL") {
  const World& w = begun();
  CK_TOKEN_INFO info{};
  w.control("lie C_GetTokenInfo blank times=1\nlie C_GetTokenInfo full nth=2 times=1");
  w.control("lie C_GetTokenInfo nul nth=3 times=1");
  CHECK(w.p11->C_GetTokenInfo(w.slot, &info) == CKR_OK);
  CHECK(info.label[0] == ' ');
  CHECK(w.p11->C_GetTokenInfo(w.slot, &info) == CKR_OK);
  CHECK(info.label[sizeof info.label - 1] == 'x');
  CHECK(w.p11->C_GetTokenInfo(w.slot, &info) == CKR_OK);
  CHECK(std::memcmp(info.label, "line\0\xa5", 6) == 0);
  CHECK(w.p11->C_GetTokenInfo(w.slot, &info) == CKR_OK);
  CHECK(info.label[4] == ' ');
  CK_INFO library{};
  w.control("lie C_GetInfo blank");
  CHECK(w.p11->C_GetInfo(&library) == CKR_OK);
  CHECK(library.manufacturerID[0] == ' ');
}

TEST_CASE("directives: what a call finds gone, or is the last to find") {
  World& w = begun();
  CK_OBJECT_HANDLE key = w.key();
  CK_ULONG size = 0;
  w.control("at C_Sign nth=2 drop-sessions");
  CHECK(w.sign(key, size) == CKR_OK);
  CHECK(w.sign(key, size) == CKR_SESSION_HANDLE_INVALID);
  w.begin();
  key = w.key();
  w.control("at C_Sign remove-token");
  CHECK(w.sign(key, size) == CKR_DEVICE_REMOVED);
  w.begin();
  key = w.key();
  w.control("at C_Sign after log-out");
  CHECK(w.sign(key, size) == CKR_OK);
  CHECK(w.sign(key, size) != CKR_OK);
  w.begin();
  w.control("at * nth=2 finalize");
  CHECK(w.info() == CKR_OK);
  CHECK(w.info() == CKR_CRYPTOKI_NOT_INITIALIZED);
  CHECK_THROWS(w.control("at C_Sign no-such-directive"));
  CHECK_THROWS(w.control("at C_Sign nth=2"));
}

TEST_CASE("directives: only the nth call is slow") {
  const World& w = begun();
  w.control("delay-us C_GetSessionInfo 400000 nth=2 times=1");
  const auto time = [&] {
    const auto start = std::chrono::steady_clock::now();
    CHECK(w.info() == CKR_OK);
    return std::chrono::steady_clock::now() - start;
  };
  CHECK(time() < std::chrono::milliseconds(400));
  CHECK(time() >= std::chrono::milliseconds(400));
  CHECK(time() < std::chrono::milliseconds(400));
}

TEST_CASE("directives: C_Initialize and C_OpenSession refuse what they are asked for") {
  World& w = begun();
  w.p11->C_Finalize(nullptr);
  CK_C_INITIALIZE_ARGS locking{};
  locking.flags = CKF_OS_LOCKING_OK;
  CK_C_INITIALIZE_ARGS callbacks{no_mutex, no_lock, no_lock, no_lock, 0, nullptr};
  char text[] = "text";
  CK_C_INITIALIZE_ARGS reserved{};
  reserved.pReserved = text;
  w.control("refuse os-locking CKR_CANT_LOCK");
  CHECK(w.p11->C_Initialize(&locking) == CKR_CANT_LOCK);
  w.control("clear\nrefuse callbacks");
  CHECK(w.p11->C_Initialize(&callbacks) == CKR_ARGUMENTS_BAD);
  w.control("refuse reserved");
  CHECK(w.p11->C_Initialize(&reserved) == CKR_ARGUMENTS_BAD);
  w.control("refuse arguments");
  CHECK(w.p11->C_Initialize(&locking) == CKR_ARGUMENTS_BAD);
  w.control("clear\nrefuse no-arguments CKR_NEED_TO_CREATE_THREADS");
  CHECK(w.p11->C_Initialize(nullptr) == CKR_NEED_TO_CREATE_THREADS);
  w.begin();
  w.control("refuse notify");
  CK_SESSION_HANDLE session = 0;
  CHECK(w.p11->C_OpenSession(w.slot, CKF_SERIAL_SESSION, nullptr, no_notice, &session) ==
        CKR_ARGUMENTS_BAD);
  CHECK(w.p11->C_OpenSession(w.slot, CKF_SERIAL_SESSION, nullptr, nullptr, &session) == CKR_OK);
  CHECK_THROWS(w.control("refuse everything"));
}

TEST_CASE("directives: a function list that lacks functions, and another version") {
  const World& w = begun();
  w.control("hide-function C_CopyObject\nlist-version 2.1");
  CHECK((w.p11->C_CopyObject == nullptr));
  CHECK((w.p11->C_Sign != nullptr));
  CHECK(w.p11->version.minor == 1);
  w.control("show-function C_CopyObject");
  CHECK((w.p11->C_CopyObject != nullptr));
  w.control("hide-function C_GetMechanismList\nclear");
  CHECK((w.p11->C_GetMechanismList != nullptr));
  CHECK(w.p11->version.minor == 40);
}

TEST_CASE("directives: an attribute is what we say") {
  const World& w = begun();
  const CK_OBJECT_HANDLE key = w.key();
  CK_BYTE id[4] = {};
  CK_BYTE point[4] = {};
  CK_ATTRIBUTE asked[] = {{CKA_ID, id, sizeof id}, {CKA_EC_POINT, point, sizeof point}};
  w.control("attribute 0x102 c0ffee\nattribute 0x181 -");
  CHECK(w.p11->C_GetAttributeValue(w.session, key, asked, 2) == CKR_OK);
  CHECK(asked[0].ulValueLen == 3);
  CHECK(id[0] == 0xc0);
  CHECK(asked[1].ulValueLen == 0);
  asked[0].ulValueLen = 2;
  CHECK(w.p11->C_GetAttributeValue(w.session, key, asked, 1) == CKR_BUFFER_TOO_SMALL);
  CHECK(asked[0].ulValueLen == CK_UNAVAILABLE_INFORMATION);
  CHECK_THROWS(w.control("attribute 0x102 xyz"));
}

TEST_CASE("directives: calls are recorded with their answers") {
  const World& w = begun();
  w.control("fail C_GetSessionInfo CKR_DEVICE_ERROR nth=2\nrecord on");
  CHECK(w.info() == CKR_OK);
  CHECK(w.info() == CKR_DEVICE_ERROR);
  w.control("record off");
  CHECK(w.info() == CKR_DEVICE_ERROR);
  const auto record =
      reinterpret_cast<std::size_t (*)(char*, std::size_t)>(dlsym(w.library, "hwid_test_record"));
  REQUIRE((record != nullptr));
  char text[200];
  record(text, sizeof text);
  CHECK(std::string(text) == "C_GetSessionInfo CKR_OK\nC_GetSessionInfo CKR_DEVICE_ERROR\n");
}
