// The time as the log and the audit trail write it.
#pragma once

#include <array>
#include <chrono>

namespace hwid::core {

// "2026-11-24T17:00:00.123456Z" (RFC 3339), NUL-terminated; years 0 to 9999. Takes no lock, as
// gmtime_r does (glibc's of the time zone, which a fork can leave held for ever).
using TimeStamp = std::array<char, 28>;
TimeStamp time_stamp(std::chrono::system_clock::time_point time) noexcept;

}  // namespace hwid::core
