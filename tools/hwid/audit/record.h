// One event of the audit trail, read back.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "provider/core/audit_fields.h"

namespace hwid::tool::audit {

// An `op` that this tool writes, beside those of the provider: a certificate was asked for.
inline constexpr std::string_view kEnrol = "enrol";

using Time = std::chrono::sys_time<std::chrono::microseconds>;

// Texts are what the line says: valid UTF-8, with whatever control characters were escaped there.
struct Record {
  Time time;
  std::uint64_t pid = 0;
  std::uint64_t uid = 0;
  std::string exe;
  std::string backend;
  std::string token;
  std::string object;
  std::string operation;
  std::string mechanism;
  std::string result;
  std::uint64_t duration_us = 0;
  std::uint64_t dropped = 0;  // events that this process lost before this one

  bool is_ok() const noexcept { return result == core::audit_field::kOk; }
};

// No line of the trail is longer: what syslog puts before it is far shorter than this.
inline constexpr std::size_t kLongestLine = core::audit_field::kLineLimit + 1024;

// `line` is JSON as the provider writes it, or that behind the tag hwid-audit in a line of a system
// log (RFC 3164's form, as rsyslog and `journalctl` write it). nullopt for all else: another
// program's line, one that was cut, a field that is absent or of another type.
std::optional<Record> parse_record(std::string_view line);

// As the provider writes it: one line, fields in their order, and nothing in it that plays with a
// terminal.
std::string canonical(const Record& record);

// "2026-11-24T17:00:00.123456Z", exactly; nullopt if it is none.
std::optional<Time> parse_stamp(std::string_view text);

}  // namespace hwid::tool::audit
