#include "tools/hwid/doctor/watch.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <exception>
#include <utility>

#include "tools/hwid/child_process.h"

namespace hwid::tool::doctor {
namespace {

using Clock = std::chrono::steady_clock;

// A step's time is counted in these. What is longer was not waiting: the user stopped all (Ctrl-Z),
// or the machine slept.
constexpr std::chrono::milliseconds kTick{100};

// By a person, the session's end or a reader that went away.
bool is_from_outside(int signal) {
  return signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT ||
         signal == SIGPIPE;
}

void end_by(int signal) {
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

}  // namespace

Watch::Watch(Examination& examination) : examination_(examination) {
  step_.what = "its beginning";
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw_no_process("pipe2", errno);
  Descriptor read_end(ends[0]);
  Descriptor write_end(ends[1]);
  const pid_t parent = ::getpid();
  child_ = ::fork();
  if (child_ < 0) throw_no_process("fork", errno);
  pipe_ = std::move(is_examiner() ? write_end : read_end);
  if (!is_examiner()) return;
  end_with_parent(parent, SIGTERM);
  examination_.report_to(this);
}

// Unwinding: main() tells why.
Watch::~Watch() {
  if (!is_examiner()) return;
  examination_.report_to(nullptr);
  if (std::uncaught_exceptions() > 0) tell({{"failed", true}});
}

// A line of JSON. The parent reads each soon, so the pipe is never full for long. Where it is gone
// nobody wants an answer any more.
void Watch::tell(const Json& message) const {
  const std::string line = message.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  for (std::size_t at = 0; at < line.size();) {
    const ssize_t size = ::write(pipe_.get(), line.data() + at, line.size() - at);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) ::_exit(1);
    at += static_cast<std::size_t>(size);
  }
}

void Watch::begins(const Step& step) {
  tell({{"step", step.what},
        {"patience", step.patience.count()},
        {"device", step.is_at_device},
        {"scope", step.scope}});
}

void Watch::found(const Finding& finding) {
  tell({{"cause", finding.cause->id}, {"scope", finding.scope}, {"values", finding.values}});
}

void Watch::passed(const std::string& what) { tell({{"passed", what}}); }

void Watch::answered(int exit_code) { tell({{"answer", exit_code}}); }

void Watch::take(const Json& message) {
  if (message.contains("step")) {
    step_ = {message.at("step").get<std::string>(),
             std::chrono::seconds(message.at("patience").get<long>()),
             message.at("device").get<bool>(), message.at("scope").get<std::string>()};
    waited_ = Milliseconds(0);
  } else if (message.contains("cause")) {
    examination_.add(message.at("cause").get<std::string>().c_str(),
                     message.at("values").get<Values>(), message.at("scope").get<std::string>());
  } else if (message.contains("passed")) {
    examination_.passed(message.at("passed").get<std::string>());
  } else if (message.contains("failed")) {
    has_failed_ = true;
  } else {
    answer_ = message.at("answer").get<int>();
  }
}

// Processes that the examiner leaves behind may have the other end, so its end says nothing.
void Watch::take_messages() {
  std::array<char, 4096> buffer{};
  pollfd wanted{pipe_.get(), POLLIN, 0};
  while (::poll(&wanted, 1, 0) == 1) {
    const ssize_t size = ::read(pipe_.get(), buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) {
      pipe_ = Descriptor(-1);
      break;
    }
    unread_.append(buffer.data(), static_cast<std::size_t>(size));
  }
  for (std::size_t end = unread_.find('\n'); end != std::string::npos; end = unread_.find('\n')) {
    take(Json::parse(unread_.substr(0, end)));
    unread_.erase(0, end + 1);
  }
}

// The pipe's end tells at once that the examiner ends, and each tick whether it has.
bool Watch::wait_for_end(int& status) {
  constexpr Milliseconds kSoon{5};
  while (::waitpid(child_, &status, WNOHANG) == 0) {
    if (step_.patience.count() != 0 && waited_ >= step_.patience) return false;
    const Milliseconds most = pipe_.get() < 0 ? kSoon : kTick;
    pollfd wanted{pipe_.get(), POLLIN, 0};  // poll() skips -1
    const Clock::time_point before = Clock::now();
    ::poll(&wanted, 1, static_cast<int>(most.count()));
    waited_ += std::min(std::chrono::duration_cast<Milliseconds>(Clock::now() - before), most);
    take_messages();
  }
  take_messages();
  return true;
}

void Watch::report_stop(const std::string& how, bool is_at_device) {
  examination_.add_stop(is_at_device ? "device-stops" : "doctor-stops",
                        {{"step", step_.what}, {"error", how}}, step_.scope);
}

std::optional<int> Watch::wait() {
  int status = 0;
  if (!wait_for_end(status)) {
    ::kill(child_, SIGKILL);
    while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) {
    }
    if (answer_) return answer_;  // a module that does not end hides no answer
    report_stop("no end after " + std::to_string(step_.patience.count()) + " s",
                step_.is_at_device);
    return std::nullopt;
  }
  if (answer_) return answer_;
  if (has_failed_ && WIFEXITED(status)) return WEXITSTATUS(status);
  const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  if (is_from_outside(signal)) end_by(signal);
  const bool is_killed = signal == SIGKILL;
  std::string how = is_killed ? "SIGKILL, by somebody, or by the kernel for want of memory (dmesg)"
                              : end_text(status);
  report_stop(how.empty() ? "exit code 0" : how, step_.is_at_device && !is_killed);
  return std::nullopt;
}

}  // namespace hwid::tool::doctor
