#include "tools/hwid/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <utility>

#include "provider/core/error.h"

namespace hwid::tool {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostOutput = 65536;

// Whom the deadline ends: the child, or whatever it has started as well.
enum class Reach { child, group };

// As long as it lives, what a terminal, a session's end or a service manager ends us with waits
// until a child's group has it, too: that one has no terminal.
class HeldSignals {
 public:
  explicit HeldSignals(Reach reach) : is_held_(reach == Reach::group) {
    sigset_t held;
    ::sigemptyset(&held);
    for (const int signal : kHeld) ::sigaddset(&held, signal);
    if (is_held_) ::pthread_sigmask(SIG_BLOCK, &held, &before_);
  }
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;
  ~HeldSignals() { release(); }

  void release() {
    if (std::exchange(is_held_, false)) ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  // May be the end of this process.
  void pass_on(pid_t child) {
    if (!is_held_) return;
    sigset_t pending;
    ::sigpending(&pending);
    for (const int signal : kHeld)
      if (::sigismember(&pending, signal) == 1 && ::sigismember(&before_, signal) == 0) {
        ::kill(-child, signal);
        release();
        return;
      }
  }

 private:
  static constexpr std::array kHeld = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
  bool is_held_;
  sigset_t before_{};
};

void set_environment(const Environment& environment) {
  for (const std::string& entry : environment) {
    const std::size_t equals = entry.find('=');
    if (equals == std::string::npos)
      ::unsetenv(entry.c_str());
    else
      ::setenv(entry.substr(0, equals).c_str(), entry.c_str() + equals + 1, 1);
  }
}

// What is in the pipe now, and no more than it can hold: somebody may write on and on. False once
// nothing more can come.
bool read_some(int fd, std::string& output) {
  constexpr std::size_t kPipe = 65536;
  std::array<char, 4096> buffer{};
  for (std::size_t all = 0; all < kPipe;) {
    const ssize_t size = ::read(fd, buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return size < 0 && errno == EAGAIN;
    all += static_cast<std::size_t>(size);
    if (output.size() < kMostOutput) output.append(buffer.data(), static_cast<std::size_t>(size));
  }
  return true;
}

// Reads until the child itself has ended: what it started may have the pipe open for ever. False at
// the deadline.
bool read_until_end(int fd, pid_t child, Clock::time_point deadline, HeldSignals& signals,
                    std::string& output, int& status) {
  constexpr int kStep = 10;  // milliseconds
  pollfd wanted{fd, POLLIN, 0};
  for (;;) {
    const bool has_ended = ::waitpid(child, &status, WNOHANG) != 0;
    if (!read_some(fd, output)) wanted.fd = -1;  // poll() then only waits
    if (has_ended) return true;
    if (Clock::now() >= deadline) return false;
    (void)::poll(&wanted, 1, kStep);
    signals.pass_on(child);
  }
}

ChildResult run(const std::function<int()>& body, const Environment& environment,
                std::chrono::seconds allowed, Reach reach) {
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) throw_no_process("pipe2", errno);
  const Clock::time_point deadline = Clock::now() + allowed;
  const pid_t parent = ::getpid();
  HeldSignals signals(reach);
  const pid_t child = ::fork();
  if (child < 0) {
    const int code = errno;
    ::close(pipe[0]);
    ::close(pipe[1]);
    throw_no_process("fork", code);
  }
  if (child == 0) {
    end_with_parent(parent, SIGKILL);
    if (reach == Reach::group) ::setsid();
    signals.release();
    const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || ::dup2(null, 0) < 0 || ::dup2(pipe[1], 1) < 0 || ::dup2(pipe[1], 2) < 0)
      ::_exit(126);
    set_environment(environment);
    ::_exit(body());
  }
  ::close(pipe[1]);
  ChildResult result;
  int status = 0;
  (void)::fcntl(pipe[0], F_SETFL, O_NONBLOCK);
  if (!read_until_end(pipe[0], child, deadline, signals, result.output, status)) {
    ::kill(reach == Reach::group ? -child : child, SIGKILL);
    ::waitpid(child, &status, 0);
    result.problem = "no end after " + std::to_string(allowed.count()) + " s";
  } else {
    result.problem = end_text(status);
  }
  ::close(pipe[0]);
  return result;
}

}  // namespace

std::string end_text(int status) {
  if (WIFSIGNALED(status)) {
    const char* const name = sigabbrev_np(WTERMSIG(status));
    return std::string("SIG") + (name != nullptr ? name : "?");
  }
  const int code = WEXITSTATUS(status);
  return code == 0 ? "" : "exit code " + std::to_string(code);
}

void throw_no_process(const char* call, int code) {
  throw core::Error(core::Reason::kNotPermitted,
                    std::string(call) + ": " + std::strerror(code) + "; free some memory or files");
}

void end_with_parent(pid_t parent, int signal) {
  ::prctl(PR_SET_PDEATHSIG, signal);
  if (::getppid() != parent) ::_exit(1);
}

ChildResult run_program(const std::vector<std::string>& arguments, const Environment& environment,
                        std::chrono::seconds deadline) {
  return run(
      [&] {
        std::vector<char*> pointers;
        pointers.reserve(arguments.size() + 1);
        for (const std::string& argument : arguments)
          pointers.push_back(const_cast<char*>(argument.c_str()));
        pointers.push_back(nullptr);
        ::execvp(pointers[0], pointers.data());
        return 127;
      },
      environment, deadline, Reach::group);
}

ChildResult run_forked(const std::function<void()>& body, const Environment& environment,
                       std::chrono::seconds deadline) {
  return run(
      [&] {
        try {
          body();
          return 0;
        } catch (const std::exception& error) {
          const std::string text = error.what();
          (void)!::write(2, text.data(), text.size());
          return 1;
        }
      },
      environment, deadline, Reach::child);
}

}  // namespace hwid::tool
