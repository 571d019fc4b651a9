#pragma once

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>

// What a service tells systemd. The protocol is one datagram with lines NAME=VALUE, which
// sd_notify(3) declares stable and invites programs to speak by themselves: no reason to load
// libsystemd, and all that it loads, into a device's program.
namespace sample::systemd {

// Does nothing where the program is no service; a service that systemd does not hear is not told
// so.
inline void notify(const std::string& lines) {
  const char* const path = std::getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return;
  const std::size_t length = std::strlen(path);
  if (length < 2 || length >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';  // an abstract socket

  const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return;
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  static_cast<void>(::sendto(socket, lines.data(), lines.size(), MSG_NOSIGNAL,
                             reinterpret_cast<const sockaddr*>(&address), size));
  ::close(socket);
}

// How often WATCHDOG=1 is due: half of WatchdogSec=, as sd_watchdog_enabled(3) advises. Nothing
// where there is no watchdog, or it is another process's.
inline std::optional<std::chrono::microseconds> watchdog_period() {
  const char* const microseconds = std::getenv("WATCHDOG_USEC");
  const char* const pid = std::getenv("WATCHDOG_PID");
  if (microseconds == nullptr) return std::nullopt;
  if (pid != nullptr && std::strtol(pid, nullptr, 10) != ::getpid()) return std::nullopt;
  const long long limit = std::strtoll(microseconds, nullptr, 10);
  if (limit <= 0) return std::nullopt;
  return std::chrono::microseconds(limit / 2);
}

}  // namespace sample::systemd
