#include "tools/hwid/time_words.h"

#include <charconv>
#include <cstdint>

#include "tools/hwid/command.h"

namespace hwid::tool {
namespace {

using std::chrono::seconds;

struct Unit {
  std::string_view letter;
  const char* name;
  std::int64_t length;  // seconds
};
constexpr Unit kUnits[] = {{"w", "week", 604800},
                           {"d", "day", 86400},
                           {"h", "hour", 3600},
                           {"m", "minute", 60},
                           {"s", "second", 1}};
constexpr std::int64_t kLongest = std::int64_t{36525} * 86400;

std::optional<seconds> duration_of(std::string_view text, bool needs_unit) {
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [after, error] = std::from_chars(text.data(), end, number);
  const std::string_view letter(after, static_cast<std::size_t>(end - after));
  if (error != std::errc() || number < 0 || (letter.empty() && needs_unit)) return std::nullopt;
  for (const Unit& unit : kUnits) {
    if (unit.letter != (letter.empty() ? "d" : letter)) continue;
    if (number > kLongest / unit.length) return std::nullopt;
    return seconds(number * unit.length);
  }
  return std::nullopt;
}

std::optional<std::chrono::sys_seconds> date_of(std::string text) {
  if (text.ends_with('Z')) text.pop_back();
  if (text.size() > 10 && text[10] == ' ') text[10] = 'T';
  if (text.size() == 10) text += "T00:00:00";
  if (text.size() == 16) text += ":00";
  return parse_date_time(text);
}

}  // namespace

std::optional<std::chrono::sys_seconds> parse_date_time(std::string_view text) {
  constexpr std::string_view kForm = "0000-00-00T00:00:00";
  if (text.size() != kForm.size()) return std::nullopt;
  for (std::size_t at = 0; at < kForm.size(); ++at) {
    const bool is_digit = text[at] >= '0' && text[at] <= '9';
    if (kForm[at] == '0' ? !is_digit : text[at] != kForm[at]) return std::nullopt;
  }
  const auto number = [&](std::size_t at, std::size_t count) {
    int value = 0;
    std::from_chars(text.data() + at, text.data() + at + count, value);
    return value;
  };
  const std::chrono::year_month_day date(std::chrono::year(number(0, 4)),
                                         std::chrono::month(static_cast<unsigned>(number(5, 2))),
                                         std::chrono::day(static_cast<unsigned>(number(8, 2))));
  const int hour = number(11, 2), minute = number(14, 2), second = number(17, 2);
  if (!date.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  return std::chrono::sys_days(date) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
         seconds(second);
}

seconds parse_duration(const std::string& option, const std::string& text) {
  const std::optional<seconds> duration = duration_of(text, false);
  if (!duration)
    throw UsageError("--" + option + ": \"" + text +
                     "\" is no duration: a number with d, h, m, s or w is expected, such as 90d");
  return *duration;
}

std::chrono::sys_seconds parse_time(const std::string& option, const std::string& text,
                                    std::chrono::sys_seconds now) {
  if (const auto ago = duration_of(text, true)) return now - *ago;
  if (const auto date = date_of(text)) return *date;
  throw UsageError("--" + option + ": \"" + text +
                   "\" is no time: 2026-11-28, 2026-11-28T10:00 (UTC), or how long ago: 24h, 7d");
}

std::string duration_text(seconds duration) {
  const Unit* fitting = &kUnits[4];
  for (const Unit& unit : kUnits) {
    if (unit.letter == "w" || duration.count() < unit.length) continue;
    fitting = &unit;
    break;
  }
  const std::int64_t count = duration.count() / fitting->length;
  return std::to_string(count) + " " + fitting->name + (count == 1 ? "" : "s");
}

}  // namespace hwid::tool
