// The one error type of the provider, and the reasons that OpenSSL's queue shows.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace hwid::core {

// What went wrong, as a number that programs may compare (ERR_GET_REASON). Only append: the
// numbers are part of the interface. CKR_ and TPM_RC_ values are text in the message, never the
// reason: vendor codes would collide with OpenSSL's own reasons.
enum class Reason {
  kInternal = 1,
  kNoMemory,
  kBadUri,
  kBadConfiguration,
  kBadReference,
  kModuleNotLoadable,
  kNotAModule,
  kModuleInitFailed,
  kNoToken,
  kTokenNotInitialized,
  kTokenRemoved,
  kNoObject,
  kSeveralObjects,
  kPinMissing,
  kPinWrong,
  kPinLocked,
  kPinExpired,
  kNotPermitted,
  kMechanismMissing,
  kSessionLimit,
  kNoBaseProvider,
  kPrivateStays,
  kUnsupported,
  kBadParameter,
  kBufferTooSmall,
  kDeviceError,
  kKeyChanged,
  kReadOnly,
  kExiting,
  kLibcrypto,
  kNoPrivateKey,
  kExists,
  kDecryptionFailed,
};

// One line that says what the reason means, for OSSL_FUNC_provider_get_reason_strings.
const char* reason_text(Reason reason) noexcept;
inline constexpr int kLastReason = static_cast<int>(Reason::kDecryptionFailed);

// Where an error was raised. std::source_location does not compile on clang 14.
struct SourceLoc {
  const char* file;
  int line;
  const char* function;
  static SourceLoc here(const char* file = __builtin_FILE(), int line = __builtin_LINE(),
                        const char* function = __builtin_FUNCTION()) noexcept {
    return {file, line, function};
  }
};

// `text` with a blank for each control character: labels are the token's word, and would else cut
// a message short (NUL) or play with the terminal that shows it.
std::string one_line(std::string text);

// A name for a message: OpenSSL cuts one after 1023 bytes, and a label may be as long as its token
// likes. The beginning of a long one, cut between two characters, and "[...]".
std::string name_text(std::string_view name);

// Names with ", " between them: the first few of many.
std::string list_text(const std::vector<std::string>& parts);

// what() has the form of every message of ours:
//   "C_Sign: CKR_DEVICE_REMOVED (0x32) token=line-7 object=device-key: the token was removed; put
//   it back"
// what failed (the call), why (the code's name), on what (token, object, file), the cause in
// words; the next step. A message never holds a PIN.
class Error : public std::runtime_error {
 public:
  Error(Reason r, const std::string& what, SourceLoc at = SourceLoc::here())
      : std::runtime_error(one_line(what)), reason(r), where(at) {}
  // `code` is the name of the device's own code, e.g. "CKR_PIN_INCORRECT", for the audit trail.
  Error(Reason r, std::string code_name, const std::string& what, SourceLoc at = SourceLoc::here())
      : std::runtime_error(one_line(what)), reason(r), where(at), code(std::move(code_name)) {}

  Reason reason;
  SourceLoc where;
  std::string code;
};

}  // namespace hwid::core
