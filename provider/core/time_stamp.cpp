#include "provider/core/time_stamp.h"

#include <cstdint>

namespace hwid::core {
namespace {

char* put(char* at, std::int64_t number, int digits, char after) noexcept {
  for (int i = digits - 1; i >= 0; --i, number /= 10) at[i] = static_cast<char>('0' + number % 10);
  at[digits] = after;
  return at + digits + 1;
}

}  // namespace

TimeStamp time_stamp(std::chrono::system_clock::time_point time) noexcept {
  using std::chrono::microseconds;
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<microseconds>(time - day));
  TimeStamp text{};
  char* at = put(text.data(), static_cast<int>(date.year()), 4, '-');
  at = put(at, static_cast<unsigned>(date.month()), 2, '-');
  at = put(at, static_cast<unsigned>(date.day()), 2, 'T');
  at = put(at, clock.hours().count(), 2, ':');
  at = put(at, clock.minutes().count(), 2, ':');
  at = put(at, clock.seconds().count(), 2, '.');
  put(at, clock.subseconds().count(), 6, 'Z');
  return text;
}

}  // namespace hwid::core
