// Times and durations as users type them.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace hwid::tool {

// "90d", "36h", "15m", "30s", "2w"; without a unit: days. Up to 100 years. Throws UsageError, which
// names `option`.
std::chrono::seconds parse_duration(const std::string& option, const std::string& text);

// "2026-11-28", "2026-11-28T10:00", "2026-11-28 10:00:30", with "Z" or without: UTC, as audit lines
// have it; or a duration with its unit, which is that long before `now`. Throws UsageError.
std::chrono::sys_seconds parse_time(const std::string& option, const std::string& text,
                                    std::chrono::sys_seconds now);

// "2026-11-28T10:00:30", exactly, as UTC; nullopt if it is none.
std::optional<std::chrono::sys_seconds> parse_date_time(std::string_view text);

// In the largest unit that fits: "62 days", "1 hour", "0 seconds". REQUIRES: not negative.
std::string duration_text(std::chrono::seconds duration);

}  // namespace hwid::tool
