#include <doctest/doctest.h>

#include "provider/pkcs11/errors.h"

using namespace hwid;
using core::Reason;

TEST_CASE("pkcs11 errors: names of return codes") {
  CHECK(pkcs11::code_name(CKR_OK) == "CKR_OK");
  CHECK(pkcs11::code_name(CKR_PIN_INCORRECT) == "CKR_PIN_INCORRECT");
  CHECK(pkcs11::code_name(CKR_FUNCTION_REJECTED) == "CKR_FUNCTION_REJECTED");
  CHECK(pkcs11::code_name(CKR_VENDOR_DEFINED + 0x12) == "CKR_VENDOR_DEFINED+0x12");
  CHECK(pkcs11::code_name(0x7777) == "0x7777");
}

TEST_CASE("pkcs11 errors: reasons, with a device error for what is not known") {
  CHECK(pkcs11::reason_for(CKR_PIN_LOCKED) == Reason::kPinLocked);
  CHECK(pkcs11::reason_for(CKR_DEVICE_REMOVED) == Reason::kTokenRemoved);
  CHECK(pkcs11::reason_for(CKR_TOKEN_WRITE_PROTECTED) == Reason::kReadOnly);
  CHECK(pkcs11::reason_for(CKR_VENDOR_DEFINED + 1) == Reason::kDeviceError);
}

TEST_CASE("pkcs11 errors: the message has call, code, place, cause and next step") {
  CHECK(pkcs11::describe("C_Sign", CKR_DEVICE_REMOVED, {"line-7", "device-key", {}}) ==
        "C_Sign: CKR_DEVICE_REMOVED (0x32) token=line-7 object=device-key: the token was removed; "
        "put it back");
  CHECK(pkcs11::call_text("C_Initialize", CKR_VENDOR_DEFINED + 2, {{}, {}, "/m.so"}) ==
        "C_Initialize: CKR_VENDOR_DEFINED+0x2 (0x80000002) module=/m.so");
  CHECK(pkcs11::call_text("C_Sign", 0x7777, {}) == "C_Sign: 0x7777");
}

TEST_CASE(
    "pkcs11 errors: a label's control characters neither cut a message nor reach a terminal") {
  try {
    pkcs11::raise(CKR_DEVICE_REMOVED, "C_Sign", {std::string("a\0b\x1b[2J\n", 8), {}, {}});
  } catch (const pkcs11::TokenError& error) {
    CHECK(std::string(error.what()) ==
          "C_Sign: CKR_DEVICE_REMOVED (0x32) token=a b [2J : the token was removed; put it back");
  }
}

TEST_CASE("pkcs11 errors: check throws with the code, for who can heal") {
  CHECK_NOTHROW(pkcs11::check(CKR_OK, "C_Sign", {}));
  try {
    pkcs11::check(CKR_SESSION_CLOSED, "C_Sign", {"t", "", {}});
    FAIL("no error");
  } catch (const pkcs11::TokenError& error) {
    CHECK(error.rv == CKR_SESSION_CLOSED);
    CHECK(error.code == "CKR_SESSION_CLOSED");
    CHECK(error.reason == Reason::kDeviceError);
  }
}
