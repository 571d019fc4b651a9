#pragma once

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <ctime>
#include <optional>

namespace sample {

// SIGINT and SIGTERM, waited for instead of handled: so a program ends in order, and its main
// thread sleeps until then. REQUIRES: made before any other thread, which inherit the blocked
// signals.
class Stop {
 public:
  using Clock = std::chrono::steady_clock;

  Stop() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }

  // From any thread: as if a signal had come.
  void request() const { ::kill(::getpid(), SIGTERM); }

  // True when the program is to end, false at the deadline (never without one).
  bool wait_until(std::optional<Clock::time_point> deadline) const {
    for (;;) {
      int signal = 0;
      if (!deadline) {
        signal = sigwaitinfo(&signals_, nullptr);
      } else {
        const auto left = *deadline - Clock::now();
        if (left.count() < 0) return false;
        const auto whole = std::chrono::duration_cast<std::chrono::seconds>(left);
        const std::chrono::nanoseconds rest = left - whole;
        const timespec wait = {static_cast<std::time_t>(whole.count()),
                               static_cast<long>(rest.count())};
        signal = sigtimedwait(&signals_, nullptr, &wait);
      }
      if (signal > 0) return true;  // else the time is over, or a debugger came between
    }
  }

 private:
  sigset_t signals_{};
};

}  // namespace sample
