// From TSS2_RC and TPM_RC to the error that OpenSSL's queue shows. All texts of return codes.
#pragma once

#include <tss2/tss2_tpm2_types.h>

#include <cstdint>
#include <string>

#include "provider/core/error.h"

namespace hwid::tpm2 {

// On what a command was sent, for messages. An empty part is left out.
struct Place {
  std::string tpm;     // the TCTI's configuration string, or "default"
  std::string object;  // "0x81000002", or a label
};

// Codes of our own making, in the layer and with the numbers that tpm2-tss gives to the same.
inline constexpr TSS2_RC kMalformedResponse = TSS2_SYS_RC_MALFORMED_RESPONSE;
inline constexpr TSS2_RC kResponseAuthFailed = TSS2_SYS_RC_LAYER | TSS2_BASE_RC_RSP_AUTH_FAILED;

// An error that a TPM or its TCTI returned: keeps the code, for who can heal it, and the call, for
// who knows more of the cause.
class TpmError : public core::Error {
 public:
  // `call_name`: a literal.
  TpmError(core::Reason reason, TSS2_RC code_value, const char* call_name,
           const std::string& code_name, const std::string& what, core::SourceLoc at)
      : core::Error(reason, code_name, what, at), rc(code_value), call(call_name) {}
  TSS2_RC rc;
  const char* call;
};

// What the code says apart from where: without the numbers of handle, parameter and session (TPM
// 2.0 Part 2, 6.6.2), and without the layer where a resource manager speaks for the TPM. "0x98e"
// is TPM2_RC_AUTH_FAIL (0x8e).
TSS2_RC base_code(TSS2_RC rc) noexcept;

// The TPM was not reached, or did not answer: nothing is known of what is loaded.
bool is_tcti_error(TSS2_RC rc) noexcept;

// "TPM_RC_AUTH_FAIL", "TSS2_TCTI_RC_IO_ERROR", "TPM_RC_VENDOR+0x12", or the number in hex.
std::string code_name(TSS2_RC rc);

core::Reason reason_for(TSS2_RC rc) noexcept;

// "TPM2_Load: TPM_RC_INTEGRITY (0x1df, parameter 1) tpm=device:/dev/tpm0 object=device-key",
// without cause and next step.
std::string call_text(const char* call, TSS2_RC rc, const Place& place);

// The same with the cause and the next step that the table has for the code.
std::string describe(const char* call, TSS2_RC rc, const Place& place);

// `call` is a literal.
[[noreturn]] void raise(TSS2_RC rc, const char* call, const Place& place,
                        core::SourceLoc at = core::SourceLoc::here());

// With a cause and next step that only the caller knows.
[[noreturn]] void raise(core::Reason reason, TSS2_RC rc, const char* call, const Place& place,
                        const std::string& cause, core::SourceLoc at = core::SourceLoc::here());

inline void check(TSS2_RC rc, const char* call, const Place& place,
                  core::SourceLoc at = core::SourceLoc::here()) {
  if (rc != TSS2_RC_SUCCESS) raise(rc, call, place, at);
}

// " tpm=swtpm object=0x81000002", for messages that no return code started.
std::string place_text(const Place& place);

std::string hex(std::uint32_t number);  // "0x81000002"

}  // namespace hwid::tpm2
