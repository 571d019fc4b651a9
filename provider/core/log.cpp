#include "provider/core/log.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <syslog.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "provider/core/error.h"
#include "provider/core/time_stamp.h"

namespace hwid::core {
namespace {

constexpr std::array<std::pair<std::string_view, LogLevel>, 5> kLevels{
    {{"off", LogLevel::kOff},
     {"error", LogLevel::kError},
     {"warn", LogLevel::kWarn},
     {"info", LogLevel::kInfo},
     {"debug", LogLevel::kDebug}}};

[[noreturn]] void reject(std::string_view setting) {
  throw Error(Reason::kBadConfiguration,
              "log = " + std::string(setting) +
                  ": not a log setting; write off, or LEVEL:SINK with LEVEL error, warn, info or "
                  "debug and SINK stderr, syslog or file:PATH");
}

std::string_view level_name(LogLevel level) {
  return kLevels[static_cast<std::size_t>(level)].first;
}

int syslog_priority(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return LOG_ERR;
    case LogLevel::kWarn:
      return LOG_WARNING;
    case LogLevel::kInfo:
      return LOG_INFO;
    default:
      return LOG_DEBUG;
  }
}

}  // namespace

Log::Log(std::string_view setting) {
  const std::size_t colon = setting.find(':');
  const std::string_view level = setting.substr(0, colon);
  const std::string_view sink =
      colon == std::string_view::npos ? std::string_view("stderr") : setting.substr(colon + 1);
  bool known = false;
  for (const auto& [name, value] : kLevels) {
    if (name != level) continue;
    level_ = value;
    known = true;
  }
  if (!known) reject(setting);
  if (sink == "stderr" || sink == "file:/dev/stderr") {  // which is a link, as no log file may be
    sink_ = Sink::kStderr;
  } else if (sink == "syslog") {
    sink_ = Sink::kSyslog;
  } else if (sink.starts_with("file:") && sink.size() > 5) {
    sink_ = Sink::kFile;
    const std::string path(sink.substr(5));
    file_ = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (file_ < 0)
      throw Error(Reason::kBadConfiguration, "log = " + std::string(setting) + ": open " + path +
                                                 ": " + std::strerror(errno) +
                                                 "; name a file that this program may write");
  } else {
    reject(setting);
  }
}

Log::~Log() {
  if (file_ >= 0) close(file_);
}

void Log::write(LogLevel level, std::string_view text) const noexcept {
  try {
    if (sink_ == Sink::kSyslog) {
      syslog(LOG_USER | syslog_priority(level), "hwid: %s", one_line(std::string(text)).c_str());
      return;
    }
    std::string line = std::string(time_stamp(std::chrono::system_clock::now()).data()) + " hwid[" +
                       std::to_string(getpid()) + "] ";
    line.append(level_name(level)).append(": ").append(one_line(std::string(text)));
    line += '\n';
    const int file = sink_ == Sink::kFile ? file_ : STDERR_FILENO;
    while (::write(file, line.data(), line.size()) < 0 && errno == EINTR) {
    }
  } catch (...) {  // a log must not stop the operation that it tells of
  }
}

}  // namespace hwid::core
