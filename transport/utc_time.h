#pragma once

#include <chrono>
#include <ctime>

// Moments of UTC that also hold where time_t has 32 bits and ends in January 2038 (Debian 12 on
// armhf): certificates often end later, and timegm calls all of those -1.
namespace hwid::transport {

// What timegm gives, as 64 bits everywhere. REQUIRES: a date of the calendar, as ASN1_TIME_to_tm
// and strptime give it.
std::chrono::sys_seconds utc_seconds(const std::tm& fields) noexcept;

// The time_t that is next to it.
std::time_t nearest_time_t(std::chrono::sys_seconds moment) noexcept;

// Both.
inline std::time_t utc_time(const std::tm& fields) noexcept {
  return nearest_time_t(utc_seconds(fields));
}

}  // namespace hwid::transport
