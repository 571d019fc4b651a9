#include "tools/hwid/doctor/watch.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include "provider/core/error.h"
#include "tools/hwid/child_process.h"

namespace hwid::tool::doctor {
namespace {

using core::Error;
using core::Reason;

// Where a device is asked for something.
constexpr Probes kOfDevices = {Probe::kModule, Probe::kToken, Probe::kPin,
                               Probe::kKey,    Probe::kUse,   Probe::kCertificate};

}  // namespace

Watch::Watch(Examination& examination) : examination_(examination) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw_no_process("pipe2", errno);
  const pid_t parent = ::getpid();
  child_ = ::fork();
  if (child_ < 0) {
    const int code = errno;
    ::close(ends[0]);
    ::close(ends[1]);
    throw_no_process("fork", code);
  }
  pipe_ = is_examiner() ? ends[1] : ends[0];
  ::close(is_examiner() ? ends[0] : ends[1]);
  if (!is_examiner()) return;
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // nobody waits for an answer any more
  if (::getppid() != parent) ::_exit(1);
  examination_.report_to(this);
}

Watch::~Watch() {
  if (is_examiner()) examination_.report_to(nullptr);
  ::close(pipe_);
}

// A line of JSON. The parent reads each at once, so the pipe is never full for long.
void Watch::tell(const Json& message) const {
  const std::string line = message.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  for (std::size_t at = 0; at < line.size();) {
    const ssize_t size = ::write(pipe_, line.data() + at, line.size() - at);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return;
    at += static_cast<std::size_t>(size);
  }
}

void Watch::begins(Probe probe, const std::string& step, std::chrono::seconds patience) {
  tell({{"probe", static_cast<int>(probe)}, {"step", step}, {"patience", patience.count()}});
}

void Watch::found(const Finding& finding) {
  tell({{"cause", finding.cause->id}, {"scope", finding.scope}, {"values", finding.values}});
}

void Watch::passed(const std::string& what) { tell({{"passed", what}}); }

void Watch::answered(int exit_code) { tell({{"answer", exit_code}}); }

void Watch::take(const Json& message) {
  if (message.contains("step")) {
    probe_ = static_cast<Probe>(message.at("probe").get<int>());
    step_ = message.at("step").get<std::string>();
    patience_ = std::chrono::seconds(message.at("patience").get<long>());
  } else if (message.contains("cause")) {
    examination_.add(message.at("cause").get<std::string>().c_str(),
                     message.at("values").get<Values>(), message.at("scope").get<std::string>());
  } else if (message.contains("passed")) {
    examination_.passed(message.at("passed").get<std::string>());
  } else {
    answer_ = message.at("answer").get<int>();
  }
}

bool Watch::read_message() {
  pollfd wanted{pipe_, POLLIN, 0};
  const auto most = std::chrono::duration_cast<std::chrono::milliseconds>(patience_);
  const int ready =
      ::poll(&wanted, 1, patience_.count() == 0 ? -1 : static_cast<int>(most.count()));
  if (ready < 0 && errno == EINTR) return true;
  is_late_ = ready == 0;
  if (ready <= 0) return false;
  std::array<char, 4096> buffer{};
  const ssize_t size = ::read(pipe_, buffer.data(), buffer.size());
  if (size < 0 && errno == EINTR) return true;
  if (size <= 0) return false;
  unread_.append(buffer.data(), static_cast<std::size_t>(size));
  for (std::size_t end = unread_.find('\n'); end != std::string::npos; end = unread_.find('\n')) {
    take(Json::parse(unread_.substr(0, end)));
    unread_.erase(0, end + 1);
  }
  return true;
}

// Empty: it ended by itself, with its own exit code in `answer_`.
std::string Watch::end_of_child() {
  if (is_late_) ::kill(child_, SIGKILL);
  int status = 0;
  while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) {
  }
  if (is_late_) return "no end after " + std::to_string(patience_.count()) + " s";
  if (WIFSIGNALED(status)) return end_text(status);
  answer_ = WEXITSTATUS(status);
  return "";
}

void Watch::report_stop(const std::string& how) {
  if (!kOfDevices.has(probe_))
    throw Error(Reason::kInternal, "hwid doctor: " + step_ + ": " + how +
                                       "; tell us what it was at, and what HWID_LOG=debug:stderr "
                                       "shows last");
  examination_.add("device-stops", {{"step", step_}, {"error", how}});
}

std::optional<int> Watch::wait() {
  while (read_message()) {
  }
  const std::string how = end_of_child();
  if (answer_) return answer_;  // also where a module hangs or crashes when all is over
  report_stop(how);
  return std::nullopt;
}

}  // namespace hwid::tool::doctor
