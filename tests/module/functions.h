// The functions of PKCS#11 2.40 as data: the one list from which names, counters and the function
// table of the test module are made.
#pragma once

#include <p11-kit/pkcs11.h>

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace hwid::test {

// What the first parameter of a function is.
enum class First { kOther, kSlot, kSession };

// What a function tells by its last parameters that can be told wrongly.
enum class Tells { kNothing, kLength, kAttributes, kText };

// X(name without C_, what the first parameter is, whether an error ends the active operation,
//   what it tells)
// clang-format off
#define HWID_TEST_PKCS11_FUNCTIONS(X)               \
  X(Initialize, kOther, false, kNothing)            \
  X(Finalize, kOther, false, kNothing)              \
  X(GetInfo, kOther, false, kText)                  \
  X(GetFunctionList, kOther, false, kNothing)       \
  X(GetSlotList, kOther, false, kLength)            \
  X(GetSlotInfo, kSlot, false, kText)               \
  X(GetTokenInfo, kSlot, false, kText)              \
  X(GetMechanismList, kSlot, false, kLength)        \
  X(GetMechanismInfo, kSlot, false, kNothing)       \
  X(InitToken, kSlot, false, kNothing)              \
  X(InitPIN, kSession, false, kNothing)             \
  X(SetPIN, kSession, false, kNothing)              \
  X(OpenSession, kSlot, false, kNothing)            \
  X(CloseSession, kSession, false, kNothing)        \
  X(CloseAllSessions, kSlot, false, kNothing)       \
  X(GetSessionInfo, kSession, false, kNothing)      \
  X(GetOperationState, kSession, false, kLength)    \
  X(SetOperationState, kSession, false, kNothing)   \
  X(Login, kSession, false, kNothing)               \
  X(Logout, kSession, false, kNothing)              \
  X(CreateObject, kSession, false, kNothing)        \
  X(CopyObject, kSession, false, kNothing)          \
  X(DestroyObject, kSession, false, kNothing)       \
  X(GetObjectSize, kSession, false, kLength)        \
  X(GetAttributeValue, kSession, false, kAttributes)\
  X(SetAttributeValue, kSession, false, kNothing)   \
  X(FindObjectsInit, kSession, false, kNothing)     \
  X(FindObjects, kSession, false, kLength)          \
  X(FindObjectsFinal, kSession, true, kNothing)     \
  X(EncryptInit, kSession, false, kNothing)         \
  X(Encrypt, kSession, true, kLength)               \
  X(EncryptUpdate, kSession, true, kLength)         \
  X(EncryptFinal, kSession, true, kLength)          \
  X(DecryptInit, kSession, false, kNothing)         \
  X(Decrypt, kSession, true, kLength)               \
  X(DecryptUpdate, kSession, true, kLength)         \
  X(DecryptFinal, kSession, true, kLength)          \
  X(DigestInit, kSession, false, kNothing)          \
  X(Digest, kSession, true, kLength)                \
  X(DigestUpdate, kSession, true, kNothing)         \
  X(DigestKey, kSession, true, kNothing)            \
  X(DigestFinal, kSession, true, kLength)           \
  X(SignInit, kSession, false, kNothing)            \
  X(Sign, kSession, true, kLength)                  \
  X(SignUpdate, kSession, true, kNothing)           \
  X(SignFinal, kSession, true, kLength)             \
  X(SignRecoverInit, kSession, false, kNothing)     \
  X(SignRecover, kSession, true, kLength)           \
  X(VerifyInit, kSession, false, kNothing)          \
  X(Verify, kSession, true, kNothing)               \
  X(VerifyUpdate, kSession, true, kNothing)         \
  X(VerifyFinal, kSession, true, kNothing)          \
  X(VerifyRecoverInit, kSession, false, kNothing)   \
  X(VerifyRecover, kSession, true, kLength)         \
  X(DigestEncryptUpdate, kSession, true, kLength)   \
  X(DecryptDigestUpdate, kSession, true, kLength)   \
  X(SignEncryptUpdate, kSession, true, kLength)     \
  X(DecryptVerifyUpdate, kSession, true, kLength)   \
  X(GenerateKey, kSession, false, kNothing)         \
  X(GenerateKeyPair, kSession, false, kNothing)     \
  X(WrapKey, kSession, false, kLength)              \
  X(UnwrapKey, kSession, false, kNothing)           \
  X(DeriveKey, kSession, false, kNothing)           \
  X(SeedRandom, kSession, false, kNothing)          \
  X(GenerateRandom, kSession, false, kNothing)      \
  X(GetFunctionStatus, kSession, false, kNothing)   \
  X(CancelFunction, kSession, false, kNothing)      \
  X(WaitForSlotEvent, kOther, false, kNothing)
// clang-format on

enum class Function : std::size_t {
#define HWID_TEST_ROW(name, first, ends, tells) k##name,
  HWID_TEST_PKCS11_FUNCTIONS(HWID_TEST_ROW)
#undef HWID_TEST_ROW
};

struct FunctionRow {
  const char* name;
  First first;
  bool error_ends_operation;
  Tells tells;
};

inline constexpr FunctionRow kFunctions[] = {
#define HWID_TEST_ROW(name, first, ends, tells) {"C_" #name, First::first, ends, Tells::tells},
    HWID_TEST_PKCS11_FUNCTIONS(HWID_TEST_ROW)
#undef HWID_TEST_ROW
};
inline constexpr std::size_t kFunctionCount = std::size(kFunctions);

constexpr std::size_t index_of(Function function) { return static_cast<std::size_t>(function); }
constexpr const FunctionRow& row_of(Function function) { return kFunctions[index_of(function)]; }

// What is counted beside the calls themselves.
enum class Tally : std::size_t {
  kPeakSessions = kFunctionCount,  // most sessions open at once in one process
  kSharedSession,                  // a call on a session that another thread was just using
  kAfterExit,                      // a call after this module's destructors had run
  kBadHandle,                      // a session handle that was never given out, or is closed
  kFailedLogins,                   // of the user, since the last that did not fail
  kPeakCalls,                      // most calls at once in one process
  kCount,
};
inline constexpr std::size_t kTallyCount = static_cast<std::size_t>(Tally::kCount);
inline constexpr const char* kTallyNames[] = {"peak-sessions", "shared-session", "after-exit",
                                              "bad-handle",    "failed-logins",  "peak-calls"};
static_assert(std::size(kTallyNames) == kTallyCount - kFunctionCount);

constexpr const char* tally_name(std::size_t index) {
  return index < kFunctionCount ? kFunctions[index].name : kTallyNames[index - kFunctionCount];
}

// "C_Sign" or "peak-sessions" to the index of its counter.
inline std::optional<std::size_t> tally_by_name(std::string_view name) {
  for (std::size_t i = 0; i < kTallyCount; ++i) {
    if (name == tally_name(i)) return i;
  }
  return std::nullopt;
}

}  // namespace hwid::test
