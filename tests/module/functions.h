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

// X(name without C_, what the first parameter is, whether an error ends the active operation)
// clang-format off
#define HWID_TEST_PKCS11_FUNCTIONS(X)    \
  X(Initialize, kOther, false)           \
  X(Finalize, kOther, false)             \
  X(GetInfo, kOther, false)              \
  X(GetFunctionList, kOther, false)      \
  X(GetSlotList, kOther, false)          \
  X(GetSlotInfo, kSlot, false)           \
  X(GetTokenInfo, kSlot, false)          \
  X(GetMechanismList, kSlot, false)      \
  X(GetMechanismInfo, kSlot, false)      \
  X(InitToken, kSlot, false)             \
  X(InitPIN, kSession, false)            \
  X(SetPIN, kSession, false)             \
  X(OpenSession, kSlot, false)           \
  X(CloseSession, kSession, false)       \
  X(CloseAllSessions, kSlot, false)      \
  X(GetSessionInfo, kSession, false)     \
  X(GetOperationState, kSession, false)  \
  X(SetOperationState, kSession, false)  \
  X(Login, kSession, false)              \
  X(Logout, kSession, false)             \
  X(CreateObject, kSession, false)       \
  X(CopyObject, kSession, false)         \
  X(DestroyObject, kSession, false)      \
  X(GetObjectSize, kSession, false)      \
  X(GetAttributeValue, kSession, false)  \
  X(SetAttributeValue, kSession, false)  \
  X(FindObjectsInit, kSession, false)    \
  X(FindObjects, kSession, false)        \
  X(FindObjectsFinal, kSession, true)    \
  X(EncryptInit, kSession, false)        \
  X(Encrypt, kSession, true)             \
  X(EncryptUpdate, kSession, true)       \
  X(EncryptFinal, kSession, true)        \
  X(DecryptInit, kSession, false)        \
  X(Decrypt, kSession, true)             \
  X(DecryptUpdate, kSession, true)       \
  X(DecryptFinal, kSession, true)        \
  X(DigestInit, kSession, false)         \
  X(Digest, kSession, true)              \
  X(DigestUpdate, kSession, true)        \
  X(DigestKey, kSession, true)           \
  X(DigestFinal, kSession, true)         \
  X(SignInit, kSession, false)           \
  X(Sign, kSession, true)                \
  X(SignUpdate, kSession, true)          \
  X(SignFinal, kSession, true)           \
  X(SignRecoverInit, kSession, false)    \
  X(SignRecover, kSession, true)         \
  X(VerifyInit, kSession, false)         \
  X(Verify, kSession, true)              \
  X(VerifyUpdate, kSession, true)        \
  X(VerifyFinal, kSession, true)         \
  X(VerifyRecoverInit, kSession, false)  \
  X(VerifyRecover, kSession, true)       \
  X(DigestEncryptUpdate, kSession, true) \
  X(DecryptDigestUpdate, kSession, true) \
  X(SignEncryptUpdate, kSession, true)   \
  X(DecryptVerifyUpdate, kSession, true) \
  X(GenerateKey, kSession, false)        \
  X(GenerateKeyPair, kSession, false)    \
  X(WrapKey, kSession, false)            \
  X(UnwrapKey, kSession, false)          \
  X(DeriveKey, kSession, false)          \
  X(SeedRandom, kSession, false)         \
  X(GenerateRandom, kSession, false)     \
  X(GetFunctionStatus, kSession, false)  \
  X(CancelFunction, kSession, false)     \
  X(WaitForSlotEvent, kOther, false)
// clang-format on

enum class Function : std::size_t {
#define HWID_TEST_ROW(name, first, ends) k##name,
  HWID_TEST_PKCS11_FUNCTIONS(HWID_TEST_ROW)
#undef HWID_TEST_ROW
};

struct FunctionRow {
  const char* name;
  First first;
  bool error_ends_operation;
};

inline constexpr FunctionRow kFunctions[] = {
#define HWID_TEST_ROW(name, first, ends) {"C_" #name, First::first, ends},
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
  kCount,
};
inline constexpr std::size_t kTallyCount = static_cast<std::size_t>(Tally::kCount);
inline constexpr const char* kTallyNames[] = {"peak-sessions", "shared-session", "after-exit",
                                              "bad-handle"};
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
