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

#include "provider/core/error.h"

namespace hwid::tool {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostOutput = 65536;

void set_environment(const Environment& environment) {
  for (const std::string& entry : environment) {
    const std::size_t equals = entry.find('=');
    if (equals == std::string::npos)
      ::unsetenv(entry.c_str());
    else
      ::setenv(entry.substr(0, equals).c_str(), entry.c_str() + equals + 1, 1);
  }
}

// Until the child closes its end. False at the deadline.
bool read_all(int fd, Clock::time_point deadline, std::string& output) {
  std::array<char, 4096> buffer{};
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    pollfd wanted{fd, POLLIN, 0};
    if (::poll(&wanted, 1, static_cast<int>(left)) <= 0) continue;
    const ssize_t size = ::read(fd, buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return true;
    if (output.size() < kMostOutput) output.append(buffer.data(), static_cast<std::size_t>(size));
  }
}

// True once it has ended; asks until the deadline.
bool wait_end(pid_t child, Clock::time_point deadline, int& status) {
  while (::waitpid(child, &status, WNOHANG) == 0) {
    if (Clock::now() >= deadline) return false;
    ::poll(nullptr, 0, 10);
  }
  return true;
}

ChildResult run(const std::function<int()>& body, const Environment& environment,
                std::chrono::seconds allowed) {
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) throw_no_process("pipe2", errno);
  const Clock::time_point deadline = Clock::now() + allowed;
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) {
    const int code = errno;
    ::close(pipe[0]);
    ::close(pipe[1]);
    throw_no_process("fork", code);
  }
  if (child == 0) {
    end_with_parent(parent, SIGKILL);
    const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || ::dup2(null, 0) < 0 || ::dup2(pipe[1], 1) < 0 || ::dup2(pipe[1], 2) < 0)
      ::_exit(126);
    set_environment(environment);
    ::_exit(body());
  }
  ::close(pipe[1]);
  ChildResult result;
  int status = 0;
  const bool ended =
      read_all(pipe[0], deadline, result.output) && wait_end(child, deadline, status);
  if (!ended) {
    ::kill(child, SIGKILL);
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
      environment, deadline);
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
      environment, deadline);
}

}  // namespace hwid::tool
