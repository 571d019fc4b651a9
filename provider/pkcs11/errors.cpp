#include "provider/pkcs11/errors.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>

namespace hwid::pkcs11 {
namespace {

using core::Reason;

struct Row {
  CK_RV rv;
  std::string_view name;
  Reason reason = Reason::kDeviceError;
  std::string_view cause = "the token refused the call";
  std::string_view next_step = "see the module's own log";
};

// PKCS#11 v3.1, pkcs11t.h, by number.
constexpr Row kRows[] = {
    {0x0, "CKR_OK"},
    {0x1, "CKR_CANCEL"},
    {0x2, "CKR_HOST_MEMORY", Reason::kNoMemory, "the module is out of memory",
     "free memory and try again"},
    {0x3, "CKR_SLOT_ID_INVALID", Reason::kTokenRemoved, "the slot is gone",
     "connect the token again"},
    {0x5, "CKR_GENERAL_ERROR", Reason::kDeviceError, "the module failed without saying why",
     "see the module's own log"},
    {0x6, "CKR_FUNCTION_FAILED", Reason::kDeviceError, "the module failed without saying why",
     "see the module's own log"},
    {0x7, "CKR_ARGUMENTS_BAD", Reason::kDeviceError, "the module does not accept the arguments",
     "see the module's own log; init-args may be needed"},
    {0x8, "CKR_NO_EVENT"},
    {0x9, "CKR_NEED_TO_CREATE_THREADS", Reason::kModuleInitFailed,
     "the module insists on threads of its own", "use another module"},
    {0xa, "CKR_CANT_LOCK", Reason::kModuleInitFailed,
     "the module cannot be used from several threads", "use another module, or p11-kit-proxy.so"},
    {0x10, "CKR_ATTRIBUTE_READ_ONLY", Reason::kBadParameter, "the token sets an attribute itself",
     "leave it out"},
    {0x11, "CKR_ATTRIBUTE_SENSITIVE", Reason::kPrivateStays, "the value cannot leave the token",
     "use the key where it is"},
    {0x12, "CKR_ATTRIBUTE_TYPE_INVALID", Reason::kUnsupported,
     "the token does not know an attribute", "leave it out"},
    {0x13, "CKR_ATTRIBUTE_VALUE_INVALID", Reason::kBadParameter,
     "the token does not accept an attribute's value", "ask for another key size, curve or label"},
    {0x1b, "CKR_ACTION_PROHIBITED", Reason::kNotPermitted, "the token's policy forbids it",
     "ask whoever administers the token"},
    {0x20, "CKR_DATA_INVALID", Reason::kBadParameter, "the token does not sign such data",
     "use another digest or padding"},
    {0x21, "CKR_DATA_LEN_RANGE", Reason::kBadParameter,
     "the data are too long or too short for the key", "use another digest or a larger key"},
    {0x30, "CKR_DEVICE_ERROR", Reason::kDeviceError, "the token failed",
     "see the module's own log, and reconnect the token"},
    {0x31, "CKR_DEVICE_MEMORY", Reason::kDeviceError, "the token is full",
     "remove objects that are not needed"},
    {0x32, "CKR_DEVICE_REMOVED", Reason::kTokenRemoved, "the token was removed", "put it back"},
    {0x40, "CKR_ENCRYPTED_DATA_INVALID"},
    {0x41, "CKR_ENCRYPTED_DATA_LEN_RANGE"},
    {0x42, "CKR_AEAD_DECRYPT_FAILED"},
    {0x50, "CKR_FUNCTION_CANCELED", Reason::kNotPermitted, "the user refused at the token",
     "try again and confirm there"},
    {0x51, "CKR_FUNCTION_NOT_PARALLEL"},
    {0x54, "CKR_FUNCTION_NOT_SUPPORTED", Reason::kUnsupported,
     "the module does not implement the call", "use another module"},
    {0x60, "CKR_KEY_HANDLE_INVALID", Reason::kNoObject, "the key is no longer on the token",
     "list the token: openssl storeutl pkcs11:"},
    {0x62, "CKR_KEY_SIZE_RANGE", Reason::kUnsupported, "the token does not take keys of that size",
     "use another size"},
    {0x63, "CKR_KEY_TYPE_INCONSISTENT", Reason::kMechanismMissing,
     "the mechanism is not one for that type of key", "use another padding"},
    {0x64, "CKR_KEY_NOT_NEEDED"},
    {0x65, "CKR_KEY_CHANGED"},
    {0x66, "CKR_KEY_NEEDED"},
    {0x67, "CKR_KEY_INDIGESTIBLE"},
    {0x68, "CKR_KEY_FUNCTION_NOT_PERMITTED", Reason::kNotPermitted, "the key may not do this",
     "use a key that was made for it"},
    {0x69, "CKR_KEY_NOT_WRAPPABLE"},
    {0x6a, "CKR_KEY_UNEXTRACTABLE"},
    {0x70, "CKR_MECHANISM_INVALID", Reason::kMechanismMissing,
     "the token does not offer the mechanism for this key", "use another padding or digest"},
    {0x71, "CKR_MECHANISM_PARAM_INVALID", Reason::kMechanismMissing,
     "the token does not accept the mechanism's parameters", "use another digest or salt length"},
    {0x82, "CKR_OBJECT_HANDLE_INVALID", Reason::kNoObject, "the object is no longer on the token",
     "list the token: openssl storeutl pkcs11:"},
    {0x90, "CKR_OPERATION_ACTIVE", Reason::kDeviceError, "another operation goes on in the session",
     "try again"},
    {0x91, "CKR_OPERATION_NOT_INITIALIZED", Reason::kDeviceError, "the token forgot the operation",
     "try again"},
    {0xa0, "CKR_PIN_INCORRECT", Reason::kPinWrong, "the PIN is wrong",
     "correct it; each wrong try brings the token nearer to locking"},
    {0xa1, "CKR_PIN_INVALID", Reason::kPinWrong,
     "the PIN has characters that the token does not take", "correct it"},
    {0xa2, "CKR_PIN_LEN_RANGE", Reason::kPinWrong, "the PIN is too long or too short",
     "correct it"},
    {0xa3, "CKR_PIN_EXPIRED", Reason::kPinExpired, "the PIN has expired",
     "set a new one: hwid pin change"},
    {0xa4, "CKR_PIN_LOCKED", Reason::kPinLocked, "the PIN is locked",
     "unlock it with the SO PIN: hwid pin unblock"},
    {0xb0, "CKR_SESSION_CLOSED", Reason::kDeviceError, "the session was closed by someone else",
     "try again"},
    {0xb1, "CKR_SESSION_COUNT", Reason::kSessionLimit, "the token has no session free",
     "close other programs that use it, or lower max-sessions"},
    {0xb3, "CKR_SESSION_HANDLE_INVALID", Reason::kDeviceError, "the token forgot the session",
     "try again"},
    {0xb4, "CKR_SESSION_PARALLEL_NOT_SUPPORTED"},
    {0xb5, "CKR_SESSION_READ_ONLY", Reason::kReadOnly, "the session is read-only",
     "use a token that can be written"},
    {0xb6, "CKR_SESSION_EXISTS"},
    {0xb7, "CKR_SESSION_READ_ONLY_EXISTS"},
    {0xb8, "CKR_SESSION_READ_WRITE_SO_EXISTS", Reason::kNotPermitted,
     "the security officer is logged in", "end that session first"},
    {0xc0, "CKR_SIGNATURE_INVALID"},
    {0xc1, "CKR_SIGNATURE_LEN_RANGE"},
    {0xd0, "CKR_TEMPLATE_INCOMPLETE", Reason::kUnsupported,
     "the token wants more attributes for a new key", "make the key with the token's own tool"},
    {0xd1, "CKR_TEMPLATE_INCONSISTENT", Reason::kUnsupported,
     "the token does not take these attributes together", "make the key with the token's own tool"},
    {0xe0, "CKR_TOKEN_NOT_PRESENT", Reason::kTokenRemoved, "the token is not there", "put it back"},
    {0xe1, "CKR_TOKEN_NOT_RECOGNIZED", Reason::kTokenRemoved,
     "the module does not recognize the token", "connect another token or use another module"},
    {0xe2, "CKR_TOKEN_WRITE_PROTECTED", Reason::kReadOnly, "the token is write-protected",
     "use a token that can be written"},
    {0xf0, "CKR_UNWRAPPING_KEY_HANDLE_INVALID"},
    {0xf1, "CKR_UNWRAPPING_KEY_SIZE_RANGE"},
    {0xf2, "CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT"},
    {0x100, "CKR_USER_ALREADY_LOGGED_IN"},
    {0x101, "CKR_USER_NOT_LOGGED_IN", Reason::kPinMissing, "nobody is logged in",
     "give a PIN: ?pin-source=file:PATH in the URI, or pin-source in the configuration"},
    {0x102, "CKR_USER_PIN_NOT_INITIALIZED", Reason::kTokenNotInitialized,
     "the token has no user PIN yet", "set one by the SO PIN: hwid pin unblock"},
    {0x103, "CKR_USER_TYPE_INVALID"},
    {0x104, "CKR_USER_ANOTHER_ALREADY_LOGGED_IN", Reason::kNotPermitted,
     "another kind of user is logged in", "end that session first"},
    {0x105, "CKR_USER_TOO_MANY_TYPES", Reason::kNotPermitted,
     "too many kinds of user are logged in", "end another session first"},
    {0x110, "CKR_WRAPPED_KEY_INVALID"},
    {0x112, "CKR_WRAPPED_KEY_LEN_RANGE"},
    {0x113, "CKR_WRAPPING_KEY_HANDLE_INVALID"},
    {0x114, "CKR_WRAPPING_KEY_SIZE_RANGE"},
    {0x115, "CKR_WRAPPING_KEY_TYPE_INCONSISTENT"},
    {0x120, "CKR_RANDOM_SEED_NOT_SUPPORTED"},
    {0x121, "CKR_RANDOM_NO_RNG", Reason::kUnsupported, "the token has no random generator",
     "use another token"},
    {0x130, "CKR_DOMAIN_PARAMS_INVALID", Reason::kUnsupported,
     "the token does not take the domain parameters", "use a named curve, such as P-256"},
    {0x140, "CKR_CURVE_NOT_SUPPORTED", Reason::kUnsupported, "the token does not have the curve",
     "use another one, such as P-256"},
    {0x150, "CKR_BUFFER_TOO_SMALL", Reason::kDeviceError,
     "the module wants more room than the answer can take", "see the module's own log"},
    {0x160, "CKR_SAVED_STATE_INVALID"},
    {0x170, "CKR_INFORMATION_SENSITIVE"},
    {0x180, "CKR_STATE_UNSAVEABLE"},
    {0x190, "CKR_CRYPTOKI_NOT_INITIALIZED", Reason::kDeviceError, "someone finalized the module",
     "keep C_Finalize for the end of the program"},
    {0x191, "CKR_CRYPTOKI_ALREADY_INITIALIZED"},
    {0x1a0, "CKR_MUTEX_BAD"},
    {0x1a1, "CKR_MUTEX_NOT_LOCKED"},
    {0x1b0, "CKR_NEW_PIN_MODE"},
    {0x1b1, "CKR_NEXT_OTP"},
    {0x1c0, "CKR_EXCEEDED_MAX_ITERATIONS"},
    {0x1c1, "CKR_FIPS_SELF_TEST_FAILED", Reason::kDeviceError, "the token's self test failed",
     "replace the token"},
    {0x1c2, "CKR_LIBRARY_LOAD_FAILED", Reason::kModuleInitFailed,
     "a library that the module needs cannot be loaded", "install it"},
    {0x1c3, "CKR_PIN_TOO_WEAK"},
    {0x1c4, "CKR_PUBLIC_KEY_INVALID"},
    {0x200, "CKR_FUNCTION_REJECTED", Reason::kNotPermitted, "the user refused at the token",
     "try again and confirm there"},
    {0x201, "CKR_TOKEN_RESOURCE_EXCEEDED", Reason::kDeviceError, "the token has no resources left",
     "close other programs that use it"},
    {0x202, "CKR_OPERATION_CANCEL_FAILED"},
    {0x203, "CKR_KEY_EXHAUSTED", Reason::kNotPermitted, "the key has no signatures left",
     "make a new key"},
    {0x204, "CKR_PENDING"},
    {0x205, "CKR_SESSION_ASYNC_NOT_SUPPORTED"},
    {0x206, "CKR_SEED_RANDOM_REQUIRED"},
    {0x207, "CKR_OPERATION_NOT_VALIDATED"},
    {0x208, "CKR_TOKEN_NOT_INITIALIZED", Reason::kTokenNotInitialized,
     "the token is not initialized", "initialize it: hwid init token"},
    {0x209, "CKR_PARAMETER_SET_NOT_SUPPORTED"},
};
static_assert(std::ranges::is_sorted(kRows, {}, &Row::rv));

const Row* find_row(CK_RV rv) noexcept {
  const auto* const row = std::ranges::lower_bound(kRows, rv, {}, &Row::rv);
  return row != std::end(kRows) && row->rv == rv ? row : nullptr;
}

std::string hex(CK_RV rv) {
  std::array<char, 2 * sizeof(CK_RV) + 3> text{};
  std::snprintf(text.data(), text.size(), "0x%lx", static_cast<unsigned long>(rv));
  return text.data();
}

}  // namespace

std::string code_name(CK_RV rv) {
  if (const Row* row = find_row(rv)) return std::string(row->name);
  if (rv >= CKR_VENDOR_DEFINED) return "CKR_VENDOR_DEFINED+" + hex(rv - CKR_VENDOR_DEFINED);
  return hex(rv);
}

Reason reason_for(CK_RV rv) noexcept {
  const Row* row = find_row(rv);
  return row != nullptr ? row->reason : Reason::kDeviceError;
}

std::string place_text(const Place& place) {
  std::string text;
  if (!place.module.empty()) text += " module=" + place.module;
  if (!place.token.empty()) text += " token=" + place.token;
  if (!place.object.empty()) text += " object=" + core::name_text(place.object);
  return text;
}

std::string call_text(const char* call, CK_RV rv, const Place& place) {
  std::string text = std::string(call) + ": " + code_name(rv);
  if (find_row(rv) != nullptr || rv >= CKR_VENDOR_DEFINED) text += " (" + hex(rv) + ")";
  return text + place_text(place);
}

std::string describe(const char* call, CK_RV rv, const Place& place) {
  static constexpr Row kUnknown{0, {}};
  const Row* row = find_row(rv);
  if (row == nullptr) row = &kUnknown;
  return call_text(call, rv, place)
      .append(": ")
      .append(row->cause)
      .append("; ")
      .append(row->next_step);
}

void raise(CK_RV rv, const char* call, const Place& place, core::SourceLoc at) {
  throw TokenError(reason_for(rv), rv, code_name(rv), describe(call, rv, place), at);
}

void raise(Reason reason, CK_RV rv, const char* call, const Place& place, const std::string& cause,
           core::SourceLoc at) {
  throw TokenError(reason, rv, code_name(rv), call_text(call, rv, place) + ": " + cause, at);
}

}  // namespace hwid::pkcs11
