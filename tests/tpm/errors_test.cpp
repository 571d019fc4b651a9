#include "provider/tpm2/errors.h"

#include <doctest/doctest.h>

using namespace hwid;
using namespace hwid::tpm2;
using core::Reason;

TEST_CASE("tpm errors: names without the numbers of handle, parameter and session") {
  CHECK(code_name(0x98e) == "TPM_RC_AUTH_FAIL");
  CHECK(code_name(0x9a2) == "TPM_RC_BAD_AUTH");
  CHECK(code_name(0x1df) == "TPM_RC_INTEGRITY");
  CHECK(code_name(0x18b) == "TPM_RC_HANDLE");
  CHECK(code_name(0x902) == "TPM_RC_OBJECT_MEMORY");
  CHECK(code_name(0x921) == "TPM_RC_LOCKOUT");
  CHECK(code_name(0x101) == "TPM_RC_FAILURE");
  CHECK(code_name(0xb0902) == "TPM_RC_OBJECT_MEMORY");  // tpm2-abrmd
  CHECK(code_name(0xc0902) == "TPM_RC_OBJECT_MEMORY");
  CHECK(code_name(0xa000a) == "TSS2_TCTI_RC_IO_ERROR");
  CHECK(code_name(kResponseAuthFailed) == "TSS2_SYS_RC_RSP_AUTH_FAILED");
  CHECK(code_name(0x512) == "TPM_RC_VENDOR+0x112");
  CHECK(code_name(0x9bf) == "0x9bf");
  CHECK(code_name(0xff0001) == "0xff0001");
  CHECK(base_code(0x98e) == TPM2_RC_AUTH_FAIL);
  CHECK(base_code(0x922) == TPM2_RC_RETRY);
  CHECK(base_code(0xa000a) == 0xa000a);
}

TEST_CASE("tpm errors: one line with the call, the place, the cause and the next step") {
  const Place place{"swtpm:port=2321", "0x81000002"};
  CHECK(describe("TPM2_Sign", 0x98e, place) ==
        "TPM2_Sign: TPM_RC_AUTH_FAIL (0x98e) tpm=swtpm:port=2321 object=0x81000002: the auth value "
        "is wrong; correct it; each wrong try brings the TPM nearer to lockout");
  CHECK(call_text("TPM2_Load", 0x1df, {}) == "TPM2_Load: TPM_RC_INTEGRITY (0x1df, parameter 1)");
  CHECK(call_text("TPM2_Sign", 0x18b, {}) == "TPM2_Sign: TPM_RC_HANDLE (0x18b, handle 1)");
  CHECK(call_text("TPM2_Sign", 0xa82, {}) == "TPM2_Sign: TPM_RC_ATTRIBUTES (0xa82, session 2)");
  CHECK(call_text("TPM2_Sign", 0x9bf, {}) == "TPM2_Sign: 0x9bf");
}

TEST_CASE("tpm errors: reasons") {
  CHECK(reason_for(0x98e) == Reason::kPinWrong);
  CHECK(reason_for(0x921) == Reason::kPinLocked);
  CHECK(reason_for(0x18b) == Reason::kNoObject);
  CHECK(reason_for(0x12f) == Reason::kNotPermitted);
  CHECK(reason_for(0xa000a) == Reason::kTokenRemoved);
  CHECK(reason_for(0x9bf) == Reason::kDeviceError);
  CHECK(is_tcti_error(0xa000a));
  CHECK_FALSE(is_tcti_error(0x902));
  try {
    check(0x902, "TPM2_Load", {"swtpm", {}});
    FAIL("no error");
  } catch (const TpmError& error) {
    CHECK(error.rc == 0x902);
    CHECK(error.code == "TPM_RC_OBJECT_MEMORY");
    CHECK(error.reason == Reason::kSessionLimit);
  }
}
