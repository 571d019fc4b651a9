#include "transport/utc_time.h"

#include <algorithm>
#include <cstdint>
#include <limits>

namespace hwid::transport {

namespace {

constexpr int kTmYear = 1900;  // of tm_year 0

}  // namespace

std::chrono::sys_seconds utc_seconds(const std::tm& fields) noexcept {
  const std::chrono::year_month_day date(
      std::chrono::year(fields.tm_year + kTmYear),
      std::chrono::month(static_cast<unsigned>(fields.tm_mon) + 1),
      std::chrono::day(static_cast<unsigned>(fields.tm_mday)));
  return std::chrono::sys_days(date) + std::chrono::hours(fields.tm_hour) +
         std::chrono::minutes(fields.tm_min) + std::chrono::seconds(fields.tm_sec);
}

std::time_t nearest_time_t(std::chrono::sys_seconds moment) noexcept {
  using Limits = std::numeric_limits<std::time_t>;
  const std::int64_t seconds = moment.time_since_epoch().count();
  return static_cast<std::time_t>(std::clamp<std::int64_t>(seconds, Limits::min(), Limits::max()));
}

}  // namespace hwid::transport
