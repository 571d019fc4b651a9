#include "provider/core/audit_syslog.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>

namespace hwid::core {
namespace {

// Of the time zone. Asked once, at load: localtime_r takes a lock that a fork can leave held.
long utc_offset() {
  const std::time_t now = std::time(nullptr);
  tm local{};
  return localtime_r(&now, &local) != nullptr ? local.tm_gmtoff : 0;
}

// "Nov 24 17:00:00". Loggers take their own time, or this one, which has no zone: the local one.
std::string header_time(long offset) {
  using namespace std::chrono;
  const auto local = floor<seconds>(system_clock::now()) + seconds(offset);
  const auto day = floor<days>(local);
  const year_month_day date(day);
  const hh_mm_ss clock(local - day);
  const auto two = [](auto number, char fill) {
    std::string digits = std::to_string(number);
    if (digits.size() < 2) digits.insert(digits.begin(), fill);
    return digits;
  };
  constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return std::string(kMonths[static_cast<unsigned>(date.month()) - 1]) + " " +
         two(static_cast<unsigned>(date.day()), ' ') + " " + two(clock.hours().count(), '0') + ":" +
         two(clock.minutes().count(), '0') + ":" + two(clock.seconds().count(), '0');
}

class Socket {
 public:
  Socket() noexcept : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {}
  ~Socket() {
    if (socket_ >= 0) close(socket_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int get() const noexcept { return socket_; }

 private:
  int socket_;
};

}  // namespace

AuditSyslog::AuditSyslog(std::string socket, const Log& log)
    : socket_(std::move(socket)), exe_(executable_path()), log_(log), utc_offset_(utc_offset()) {}

// 0, or errno.
int AuditSyslog::send(const AuditLine& line, bool ok) const {
  std::string header = "<" + std::to_string(LOG_AUTHPRIV | (ok ? LOG_INFO : LOG_NOTICE)) + ">" +
                       header_time(utc_offset_) + " hwid-audit[" + std::to_string(getpid()) + "]: ";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_.copy(address.sun_path, sizeof address.sun_path - 1);
  std::array<iovec, 2> parts{{{header.data(), header.size()},
                              {const_cast<char*>(line.text().data()), line.text().size()}}};
  msghdr message{};
  message.msg_name = &address;
  message.msg_namelen = sizeof address;
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  const Socket socket;
  if (socket.get() < 0) return errno;
  return sendmsg(socket.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? errno : 0;
}

void AuditSyslog::record(const AuditEvent& event) noexcept {
  try {
    Drops& drops = drops_.get();
    const std::uint64_t told = drops.take();
    const int error = send(AuditLine(event, exe_, told), event.result == audit_field::kOk);
    if (error == 0 || !drops.lost(told)) return;
    HWID_LOG(log_, kError,
             "audit: send to " + socket_ + ": " + std::strerror(error) +
                 ": lines are lost, and the next one that is not says how many; see that the "
                 "system's logger runs, and reads datagrams there");
  } catch (...) {  // memory is short; the operation goes on
  }
}

}  // namespace hwid::core
