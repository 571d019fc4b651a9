// The log: `log = LEVEL:SINK` in the section, or HWID_LOG=debug:stderr.
#pragma once

#include <atomic>
#include <string>
#include <string_view>

namespace hwid::core {

enum class LogLevel { kOff, kError, kWarn, kInfo, kDebug };

// One line a record, one write a line: "2026-11-24T17:00:00.123456Z hwid[PID] warn: text".
// Thread-safe, usable after fork. Never given a PIN: URIs are logged by KeyUri::text().
class Log {
 public:
  Log() = default;  // off
  // `off`, or LEVEL:SINK with LEVEL error, warn, info, debug and SINK stderr, syslog, file:PATH.
  // Throws kBadConfiguration.
  explicit Log(std::string_view setting);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  bool on(LogLevel level) const noexcept { return level <= level_; }
  void write(LogLevel level, std::string_view text) const noexcept;

 private:
  enum class Sink { kStderr, kSyslog, kFile };
  LogLevel level_ = LogLevel::kOff;
  Sink sink_ = Sink::kStderr;
  int file_ = -1;
};

}  // namespace hwid::core

// The text is only built when the level is on.
#define HWID_LOG(log, level, text)                                                                 \
  do {                                                                                             \
    if ((log).on(::hwid::core::LogLevel::level)) (log).write(::hwid::core::LogLevel::level, text); \
  } while (false)
