// The names in a line of the audit trail, for who writes it and who reads it.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace hwid::core::audit_field {

inline constexpr std::string_view kTime = "time";  // RFC 3339, UTC, microseconds
inline constexpr std::string_view kPid = "pid";    // number
inline constexpr std::string_view kUid = "uid";    // number: the real user
inline constexpr std::string_view kExe = "exe";    // path of the program
inline constexpr std::string_view kBackend = "backend";
inline constexpr std::string_view kToken = "token";
inline constexpr std::string_view kObject = "object";
inline constexpr std::string_view kOperation = "op";
inline constexpr std::string_view kMechanism = "mechanism";
inline constexpr std::string_view kResult = "result";
inline constexpr std::string_view kDuration = "duration_us";  // number
inline constexpr std::string_view kDropped = "dropped";       // number

// All, in the order in which they are written.
inline constexpr std::array<std::string_view, 12> kAll = {
    kTime,   kPid,       kUid,       kExe,    kBackend,  kToken,
    kObject, kOperation, kMechanism, kResult, kDuration, kDropped};

// Values of `op`, and of `result` where nothing failed. (Else: the CKR_ or TPM_RC_ name, or, where
// the device answered none, the reason in words.)
inline constexpr std::string_view kLoad = "load";
inline constexpr std::string_view kLogin = "login";
inline constexpr std::string_view kSign = "sign";
inline constexpr std::string_view kDecrypt = "decrypt";
inline constexpr std::string_view kDerive = "derive";
inline constexpr std::string_view kGenerate = "generate";
inline constexpr std::string_view kOk = "ok";

// A line with its end is shorter, so that one write brings it to the file whole.
inline constexpr std::size_t kLineLimit = 4096;

}  // namespace hwid::core::audit_field
