#include "provider/tpm2/errors.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>

namespace hwid::tpm2 {
namespace {

using core::Reason;

struct Row {
  TSS2_RC code;
  Reason reason;
  std::string_view name;
  std::string_view cause = "the TPM refused the command";
  std::string_view next_step = "look the code up: tpm2_rc_decode";
};

constexpr std::string_view kTryAgain = "try again";
constexpr std::string_view kReload = "open the key again";
constexpr std::string_view kOtherKey = "use a key that was made for it";
constexpr std::string_view kNotThisTpm =
    "check that the key was made on this TPM and below this parent, and that the TPM was not "
    "cleared since";

// TPM 2.0 Part 2, 6.6.3, by number: format one (0x80), format zero (0x100), warnings (0x900).
constexpr Row kRows[] = {
    {0x0, Reason::kDeviceError, "TPM_RC_SUCCESS"},
    {0x1e, Reason::kDeviceError, "TPM_RC_BAD_TAG", "the device is a TPM 1.2", "use a TPM 2.0"},
    {0x81, Reason::kUnsupported, "TPM_RC_ASYMMETRIC", "the TPM does not have the algorithm",
     "use another one"},
    {0x82, Reason::kNotPermitted, "TPM_RC_ATTRIBUTES", "the key's attributes do not allow this",
     kOtherKey},
    {0x83, Reason::kMechanismMissing, "TPM_RC_HASH", "the TPM does not have the digest",
     "use another digest, such as SHA256"},
    {0x84, Reason::kBadParameter, "TPM_RC_VALUE", "the TPM does not accept a value",
     "use another key, digest or padding"},
    {0x85, Reason::kNotPermitted, "TPM_RC_HIERARCHY",
     "the hierarchy is disabled or not the right one", "enable it, or use a key of another one"},
    {0x87, Reason::kUnsupported, "TPM_RC_KEY_SIZE", "the TPM does not take keys of that size",
     "use another size"},
    {0x88, Reason::kMechanismMissing, "TPM_RC_MGF", "the TPM does not have the mask function",
     "use another padding"},
    {0x89, Reason::kUnsupported, "TPM_RC_MODE", "the TPM does not have the mode",
     "use another one"},
    {0x8a, Reason::kUnsupported, "TPM_RC_TYPE", "the object is of another type", kOtherKey},
    {0x8b, Reason::kNoObject, "TPM_RC_HANDLE", "there is no such object in the TPM",
     "list what is there: tpm2_getcap handles-persistent"},
    {0x8c, Reason::kUnsupported, "TPM_RC_KDF", "the TPM does not have the key derivation",
     "use another one"},
    {0x8d, Reason::kBadParameter, "TPM_RC_RANGE", "a value is out of range", "use another one"},
    {0x8e, Reason::kPinWrong, "TPM_RC_AUTH_FAIL", "the auth value is wrong",
     "correct it; each wrong try brings the TPM nearer to lockout"},
    {0x8f, Reason::kDeviceError, "TPM_RC_NONCE", "the session's nonces do not match", kTryAgain},
    {0x90, Reason::kNotPermitted, "TPM_RC_PP", "physical presence is required", "assert it"},
    {0x92, Reason::kMechanismMissing, "TPM_RC_SCHEME",
     "the key does not take the padding or digest", "use the scheme that the key was made with"},
    {0x95, Reason::kBadParameter, "TPM_RC_SIZE", "the data are too long or too short for the key",
     "use another digest or a larger key"},
    {0x96, Reason::kUnsupported, "TPM_RC_SYMMETRIC",
     "the TPM does not have the symmetric algorithm", "use another one, such as AES-128-CFB"},
    {0x97, Reason::kDeviceError, "TPM_RC_TAG", "a structure has a wrong tag", kTryAgain},
    {0x98, Reason::kUnsupported, "TPM_RC_SELECTOR", "the TPM does not have the variant",
     "use another algorithm"},
    {0x9a, Reason::kDeviceError, "TPM_RC_INSUFFICIENT", "the TPM found the command too short",
     "check the TPM's driver and resource manager"},
    {0x9b, Reason::kBadParameter, "TPM_RC_SIGNATURE", "a signature is not valid",
     "sign the policy with the right key"},
    {0x9c, Reason::kNotPermitted, "TPM_RC_KEY", "the key is not one for this use", kOtherKey},
    {0x9d, Reason::kNotPermitted, "TPM_RC_POLICY_FAIL", "the key's policy is not satisfied",
     "name the policy of the key, and check the state (PCRs) that it asks for"},
    {0x9f, Reason::kNoObject, "TPM_RC_INTEGRITY",
     "the key does not belong to this parent or this TPM", kNotThisTpm},
    {0xa0, Reason::kNotPermitted, "TPM_RC_TICKET",
     "the key is restricted: it signs only what the TPM has hashed itself",
     "sign the message, not a digest of it"},
    {0xa1, Reason::kUnsupported, "TPM_RC_RESERVED_BITS", "the TPM does not know an attribute",
     "leave it out"},
    {0xa2, Reason::kPinWrong, "TPM_RC_BAD_AUTH", "the auth value is wrong", "correct it"},
    {0xa3, Reason::kNotPermitted, "TPM_RC_EXPIRED", "the policy has expired", "renew it"},
    {0xa4, Reason::kNotPermitted, "TPM_RC_POLICY_CC", "the policy is for another command",
     kOtherKey},
    {0xa5, Reason::kBadReference, "TPM_RC_BINDING",
     "the public and the private half do not belong together", "take the key file from its backup"},
    {0xa6, Reason::kUnsupported, "TPM_RC_CURVE", "the TPM does not have the curve",
     "use another one, such as P-256"},
    {0xa7, Reason::kBadParameter, "TPM_RC_ECC_POINT", "the point is not on the key's curve",
     "use the peer's right key"},
    {0x100, Reason::kTokenNotInitialized, "TPM_RC_INITIALIZE", "the TPM was not started",
     "start it: tpm2_startup -c"},
    {0x101, Reason::kDeviceError, "TPM_RC_FAILURE",
     "the TPM failed, for this command or for all (bad padding looks like that, too)",
     "if every command answers this, start the TPM anew"},
    {0x103, Reason::kDeviceError, "TPM_RC_SEQUENCE", "the TPM does not expect the command now",
     kTryAgain},
    {0x10b, Reason::kDeviceError, "TPM_RC_PRIVATE"},
    {0x119, Reason::kDeviceError, "TPM_RC_HMAC"},
    {0x120, Reason::kNotPermitted, "TPM_RC_DISABLED", "the command is disabled", "enable it"},
    {0x121, Reason::kDeviceError, "TPM_RC_EXCLUSIVE", "an audit session is exclusive", kTryAgain},
    {0x124, Reason::kNotPermitted, "TPM_RC_AUTH_TYPE",
     "the authorization is not one for the command", kOtherKey},
    {0x125, Reason::kDeviceError, "TPM_RC_AUTH_MISSING", "the command came without authorization",
     "check the TPM's resource manager"},
    {0x126, Reason::kNotPermitted, "TPM_RC_POLICY", "the policy is not valid", "correct it"},
    {0x127, Reason::kNotPermitted, "TPM_RC_PCR", "a PCR has another value than the policy asks for",
     "boot the software that the key was made for"},
    {0x128, Reason::kDeviceError, "TPM_RC_PCR_CHANGED", "a PCR changed meanwhile", kTryAgain},
    {0x12d, Reason::kDeviceError, "TPM_RC_UPGRADE", "the TPM is in field upgrade mode",
     "finish the upgrade"},
    {0x12e, Reason::kSessionLimit, "TPM_RC_TOO_MANY_CONTEXTS", "the TPM cannot save more contexts",
     "restart the TPM"},
    {0x12f, Reason::kNotPermitted, "TPM_RC_AUTH_UNAVAILABLE",
     "the key cannot be used with an auth value, only by its policy", "name the policy of the key"},
    {0x130, Reason::kDeviceError, "TPM_RC_REBOOT", "the TPM must be started anew", "reboot"},
    {0x131, Reason::kUnsupported, "TPM_RC_UNBALANCED",
     "the digest is too short for the symmetric algorithm", "use a longer one"},
    {0x142, Reason::kDeviceError, "TPM_RC_COMMAND_SIZE", "the command reached the TPM damaged",
     "check its driver and resource manager"},
    {0x143, Reason::kUnsupported, "TPM_RC_COMMAND_CODE", "the TPM does not have the command",
     "use another TPM"},
    {0x144, Reason::kDeviceError, "TPM_RC_AUTHSIZE", "the command reached the TPM damaged",
     "check its driver and resource manager"},
    {0x145, Reason::kDeviceError, "TPM_RC_AUTH_CONTEXT", "the command takes no session",
     "check the TPM's resource manager"},
    {0x146, Reason::kBadParameter, "TPM_RC_NV_RANGE", "the NV index is shorter than that",
     "read less"},
    {0x147, Reason::kDeviceError, "TPM_RC_NV_SIZE", "the NV index is too large",
     "use a smaller one"},
    {0x148, Reason::kReadOnly, "TPM_RC_NV_LOCKED", "the NV index is locked", "use another one"},
    {0x149, Reason::kNotPermitted, "TPM_RC_NV_AUTHORIZATION",
     "the authorization is not one for the NV index", "use the index's own auth value"},
    {0x14a, Reason::kNoObject, "TPM_RC_NV_UNINITIALIZED", "nothing was written to the NV index yet",
     "write it: tpm2_nvwrite"},
    {0x14b, Reason::kDeviceError, "TPM_RC_NV_SPACE", "the TPM's memory is full",
     "remove persistent objects that are not needed: hwid delete"},
    {0x14c, Reason::kExists, "TPM_RC_NV_DEFINED", "the handle is taken", "choose another one"},
    {0x150, Reason::kNoObject, "TPM_RC_BAD_CONTEXT", "the saved context is not valid any more",
     kReload},
    {0x151, Reason::kNotPermitted, "TPM_RC_CPHASH", "the policy is for another command", kOtherKey},
    {0x152, Reason::kBadParameter, "TPM_RC_PARENT", "the parent is not a storage key",
     "name the parent that the key was made below"},
    {0x153, Reason::kDeviceError, "TPM_RC_NEEDS_TEST", "the TPM wants to be tested first",
     "test it: tpm2_selftest"},
    {0x154, Reason::kDeviceError, "TPM_RC_NO_RESULT", "the TPM found no result", "use another key"},
    {0x155, Reason::kBadReference, "TPM_RC_SENSITIVE", "the private half is damaged",
     "take the key file from its backup"},
    {0x901, Reason::kSessionLimit, "TPM_RC_CONTEXT_GAP", "an old saved session blocks the TPM",
     "flush saved sessions: tpm2_flushcontext -s"},
    {0x902, Reason::kSessionLimit, "TPM_RC_OBJECT_MEMORY", "the TPM has no slot free for a key",
     "flush what other programs left: tpm2_flushcontext -t; or use a resource manager "
     "(device:/dev/tpmrm0)"},
    {0x903, Reason::kSessionLimit, "TPM_RC_SESSION_MEMORY", "the TPM has no session free",
     "flush what other programs left: tpm2_flushcontext -l; or use a resource manager "
     "(device:/dev/tpmrm0)"},
    {0x904, Reason::kSessionLimit, "TPM_RC_MEMORY", "the TPM is out of memory",
     "flush what other programs left: tpm2_flushcontext -t -l -s"},
    {0x905, Reason::kSessionLimit, "TPM_RC_SESSION_HANDLES", "the TPM has no session handle free",
     "flush what other programs left: tpm2_flushcontext -l -s"},
    {0x906, Reason::kSessionLimit, "TPM_RC_OBJECT_HANDLES", "the TPM has no handle free", "reboot"},
    {0x907, Reason::kNotPermitted, "TPM_RC_LOCALITY", "the locality is not the right one",
     kOtherKey},
    {0x908, Reason::kDeviceError, "TPM_RC_YIELDED", "the TPM is busy", kTryAgain},
    {0x909, Reason::kDeviceError, "TPM_RC_CANCELED", "the command was cancelled", kTryAgain},
    {0x90a, Reason::kDeviceError, "TPM_RC_TESTING", "the TPM is testing itself", "try again later"},
    {0x910, Reason::kDeviceError, "TPM_RC_REFERENCE_H0",
     "the TPM does not have the key loaded any more", kTryAgain},
    {0x911, Reason::kDeviceError, "TPM_RC_REFERENCE_H1",
     "the TPM does not have the key loaded any more", kTryAgain},
    {0x912, Reason::kDeviceError, "TPM_RC_REFERENCE_H2",
     "the TPM does not have the key loaded any more", kTryAgain},
    {0x913, Reason::kDeviceError, "TPM_RC_REFERENCE_H3"},
    {0x914, Reason::kDeviceError, "TPM_RC_REFERENCE_H4"},
    {0x915, Reason::kDeviceError, "TPM_RC_REFERENCE_H5"},
    {0x916, Reason::kDeviceError, "TPM_RC_REFERENCE_H6"},
    {0x918, Reason::kDeviceError, "TPM_RC_REFERENCE_S0",
     "the TPM does not have the session any more", kTryAgain},
    {0x919, Reason::kDeviceError, "TPM_RC_REFERENCE_S1",
     "the TPM does not have the session any more", kTryAgain},
    {0x91a, Reason::kDeviceError, "TPM_RC_REFERENCE_S2",
     "the TPM does not have the session any more", kTryAgain},
    {0x91b, Reason::kDeviceError, "TPM_RC_REFERENCE_S3"},
    {0x91c, Reason::kDeviceError, "TPM_RC_REFERENCE_S4"},
    {0x91d, Reason::kDeviceError, "TPM_RC_REFERENCE_S5"},
    {0x91e, Reason::kDeviceError, "TPM_RC_REFERENCE_S6"},
    {0x920, Reason::kDeviceError, "TPM_RC_NV_RATE",
     "the TPM limits how often its memory is written", "try again later"},
    {0x921, Reason::kPinLocked, "TPM_RC_LOCKOUT",
     "too many wrong auth values: the TPM is in lockout",
     "wait, or end it: hwid pin unblock tpm2:"},
    {0x922, Reason::kDeviceError, "TPM_RC_RETRY", "the TPM is busy", kTryAgain},
    {0x923, Reason::kDeviceError, "TPM_RC_NV_UNAVAILABLE", "the TPM's memory cannot be written now",
     "try again later"},
};
static_assert(std::ranges::is_sorted(kRows, {}, &Row::code));

// tss2_common.h, TSS2_BASE_RC_*, without layer. Most are our own mistakes and have no cause here.
constexpr Row kTssRows[] = {
    {1, Reason::kDeviceError, "GENERAL_FAILURE", "tpm2-tss failed without saying why",
     "see its own messages: TSS2_LOG=all+WARNING"},
    {2, Reason::kDeviceError, "NOT_IMPLEMENTED"},
    {3, Reason::kDeviceError, "BAD_CONTEXT"},
    {4, Reason::kDeviceError, "ABI_MISMATCH"},
    {5, Reason::kDeviceError, "BAD_REFERENCE"},
    {6, Reason::kDeviceError, "INSUFFICIENT_BUFFER", "the TPM's answer is longer than any may be",
     "check its driver and resource manager"},
    {7, Reason::kDeviceError, "BAD_SEQUENCE"},
    {8, Reason::kTokenRemoved, "NO_CONNECTION", "the TPM cannot be reached",
     "check that it (swtpm, tpm2-abrmd) runs"},
    {9, Reason::kDeviceError, "TRY_AGAIN", "the TPM did not answer in time", kTryAgain},
    {10, Reason::kTokenRemoved, "IO_ERROR", "the TPM cannot be reached",
     "check that it is there, or (swtpm, tpm2-abrmd) that it runs"},
    {11, Reason::kDeviceError, "BAD_VALUE"},
    {12, Reason::kNotPermitted, "NOT_PERMITTED", "access to the TPM is refused",
     "add the user to the device's group (tss)"},
    {13, Reason::kDeviceError, "INVALID_SESSIONS"},
    {14, Reason::kDeviceError, "NO_DECRYPT_PARAM"},
    {15, Reason::kDeviceError, "NO_ENCRYPT_PARAM"},
    {16, Reason::kDeviceError, "BAD_SIZE"},
    {17, Reason::kDeviceError, "MALFORMED_RESPONSE", "the TPM's answer is damaged",
     "check its driver, its resource manager, and whatever else stands between it and this "
     "program"},
    {18, Reason::kDeviceError, "INSUFFICIENT_CONTEXT"},
    {19, Reason::kDeviceError, "INSUFFICIENT_RESPONSE"},
    {20, Reason::kDeviceError, "INCOMPATIBLE_TCTI"},
    {21, Reason::kDeviceError, "NOT_SUPPORTED"},
    {22, Reason::kDeviceError, "BAD_TCTI_STRUCTURE"},
    {23, Reason::kNoMemory, "MEMORY", "out of memory", "free memory and try again"},
    {27, Reason::kDeviceError, "RSP_AUTH_FAILED",
     "the answer does not come from the TPM that the session was started with",
     "look for whatever stands between it and this program"},
};
static_assert(std::ranges::is_sorted(kTssRows, {}, &Row::code));

template <std::size_t N>
const Row* find_row(const Row (&rows)[N], TSS2_RC code) noexcept {
  const auto* const row = std::ranges::lower_bound(rows, code, {}, &Row::code);
  return row != std::end(rows) && row->code == code ? row : nullptr;
}

std::uint32_t layer_of(TSS2_RC rc) noexcept {
  return (rc & TSS2_RC_LAYER_MASK) >> TSS2_RC_LAYER_SHIFT;
}

// The TPM's own code, or one that a resource manager answers in its stead: tpm2-abrmd marks those
// with the layer 11, the standard has 12.
bool is_tpm_code(TSS2_RC rc) noexcept {
  switch (layer_of(rc)) {
    case 0:
    case 12:
      return true;
    case 11:
      return (rc & ~TSS2_RC_LAYER_MASK) >= TPM2_RC_FMT1;
    default:
      return false;
  }
}

const Row* row_of(TSS2_RC rc) noexcept {
  return is_tpm_code(rc) ? find_row(kRows, base_code(rc))
                         : find_row(kTssRows, rc & ~TSS2_RC_LAYER_MASK);
}

std::string_view layer_name(TSS2_RC rc) noexcept {
  switch (layer_of(rc)) {
    case 6:
      return "TSS2_FAPI_RC_";
    case 7:
      return "TSS2_ESYS_RC_";
    case 8:
      return "TSS2_SYS_RC_";
    case 9:
      return "TSS2_MU_RC_";
    case 10:
      return "TSS2_TCTI_RC_";
    case 11:
      return "TSS2_RESMGR_RC_";
    default:
      return {};
  }
}

// ", parameter 2" where the code says which (TPM 2.0 Part 2, 6.6.2).
std::string number_text(TSS2_RC rc) {
  const TSS2_RC code = rc & ~TSS2_RC_LAYER_MASK;
  if (!is_tpm_code(rc) || (code & TPM2_RC_FMT1) == 0) return {};
  const std::uint32_t number = (code & TPM2_RC_N_MASK) >> 8;
  if ((code & TPM2_RC_P) != 0) return number != 0 ? ", parameter " + std::to_string(number) : "";
  if ((code & TPM2_RC_S) != 0)  // nearly always the first, the one that authorizes
    return (number & 7) > 1 ? ", session " + std::to_string(number & 7) : "";
  return number != 0 ? ", handle " + std::to_string(number) : "";
}

}  // namespace

std::string hex(std::uint32_t number) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "0x%x", static_cast<unsigned>(number));
  return text.data();
}

TSS2_RC base_code(TSS2_RC rc) noexcept {
  if (!is_tpm_code(rc)) return rc;
  const TSS2_RC code = rc & ~TSS2_RC_LAYER_MASK;
  return (code & TPM2_RC_FMT1) != 0 ? code & (TPM2_RC_FMT1 | 0x3f) : code;
}

bool is_tcti_error(TSS2_RC rc) noexcept { return layer_of(rc) == 10; }

std::string code_name(TSS2_RC rc) {
  const Row* const row = row_of(rc);
  if (is_tpm_code(rc)) {
    if (row != nullptr) return std::string(row->name);
    const TSS2_RC code = base_code(rc);
    constexpr TSS2_RC kVendor = 0x400;  // of format zero
    if ((code & TPM2_RC_FMT1) == 0 && (code & kVendor) != 0)
      return "TPM_RC_VENDOR+" + hex(code & ~kVendor);
    return hex(rc);
  }
  const std::string_view layer = layer_name(rc);
  return row != nullptr && !layer.empty() ? std::string(layer).append(row->name) : hex(rc);
}

Reason reason_for(TSS2_RC rc) noexcept {
  const Row* const row = row_of(rc);
  return row != nullptr ? row->reason : Reason::kDeviceError;
}

std::string place_text(const Place& place) {
  std::string text;
  if (!place.tpm.empty()) text += " tpm=" + place.tpm;
  if (!place.object.empty()) text += " object=" + place.object;
  return text;
}

std::string call_text(const char* call, TSS2_RC rc, const Place& place) {
  const std::string name = code_name(rc);
  std::string text = std::string(call) + ": " + name;
  if (name != hex(rc)) text += " (" + hex(rc) + number_text(rc) + ")";
  return text + place_text(place);
}

std::string describe(const char* call, TSS2_RC rc, const Place& place) {
  static constexpr Row kUnknown{0, Reason::kDeviceError, {}};
  const Row* row = row_of(rc);
  if (row == nullptr) row = &kUnknown;
  return call_text(call, rc, place)
      .append(": ")
      .append(row->cause)
      .append("; ")
      .append(row->next_step);
}

void raise(TSS2_RC rc, const char* call, const Place& place, core::SourceLoc at) {
  throw TpmError(reason_for(rc), rc, call, code_name(rc), describe(call, rc, place), at);
}

void raise(Reason reason, TSS2_RC rc, const char* call, const Place& place,
           const std::string& cause, core::SourceLoc at) {
  throw TpmError(reason, rc, call, code_name(rc), call_text(call, rc, place) + ": " + cause, at);
}

}  // namespace hwid::tpm2
