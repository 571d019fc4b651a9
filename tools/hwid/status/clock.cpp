#include "tools/hwid/status/clock.h"

#include <sys/timex.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "transport/certificate_text.h"

namespace hwid::tool::status {
namespace {

constexpr std::time_t kBuilt = HWID_BUILD_TIME;

constexpr char kNext[] = "start time synchronization (systemd-timesyncd, chrony), or set the clock";

void check_synchronization(Report& report) {
  Check check{"clock",        "synchronization", "adjtimex", State::kOk,
              "synchronized", "synchronized",    ""};
  timex state{};  // modes = 0: reads, and needs no privilege
  const int result = ::adjtimex(&state);
  if (result < 0) {
    check.state = State::kUnknown;
    check.value = nullptr;
    check.text = std::string("adjtimex: ") + std::strerror(errno);
  } else {
    const bool synchronized = (state.status & STA_UNSYNC) == 0;
    if (!synchronized) {
      check.state = State::kWarning;
      check.value = "unsynchronized";
      check.text = "the kernel says that nothing keeps the clock right (STA_UNSYNC)";
      check.next = kNext;
    }
    report.sample("hwid_clock_synchronized", {}, synchronized ? 1 : 0);
  }
  report.add(std::move(check));
}

}  // namespace

void check_clock(std::time_t now, std::time_t newest_begin, Report& report) {
  check_synchronization(report);
  Check check{"clock",
              "time",
              "",
              State::kOk,
              static_cast<std::int64_t>(now),
              "it is " + transport::utc_text(now),
              ""};
  if (now < kBuilt) {
    check.state = State::kCritical;
    check.text += ", but this program was built at " + transport::utc_text(kBuilt);
  } else if (now < newest_begin) {
    check.state = State::kCritical;
    check.text += ", but a certificate begins at " + transport::utc_text(newest_begin);
  }
  if (check.state != State::kOk) check.next = kNext;
  report.add(std::move(check));
}

}  // namespace hwid::tool::status
