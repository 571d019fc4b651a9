#include "stopped_calls.h"

#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <exception>
#include <iostream>

namespace hwid::test {

namespace {

// Empty: it changes nothing.
std::string changing_call(const __ptrace_syscall_info& info) {
  const auto& call = info.entry;
  switch (call.nr) {
    case SYS_openat:
      return (call.args[2] & O_CREAT) != 0 ? "create" : "";
    case SYS_write:
      return call.args[0] > 2 ? "write" : "";
    case SYS_fsync:
      return "fsync";
#ifdef SYS_rename
    case SYS_rename:
#endif
#ifdef SYS_renameat
    case SYS_renameat:
#endif
    case SYS_renameat2:
      return "rename";
#ifdef SYS_mkdir
    case SYS_mkdir:
#endif
    case SYS_mkdirat:
      return "mkdir";
#ifdef SYS_symlink
    case SYS_symlink:
#endif
    case SYS_symlinkat:
      return "symlink";
#ifdef SYS_unlink
    case SYS_unlink:
    case SYS_rmdir:
#endif
    case SYS_unlinkat:
      return "unlink";
    default:
      return "";
  }
}

[[noreturn]] void be_traced(const std::function<void()>& body) {
  if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(2);
  ::raise(SIGSTOP);
  try {
    body();
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    ::_exit(1);
  }
  ::_exit(0);
}

}  // namespace

StoppedRun run_until_call(std::size_t stop, const std::function<void()>& body) {
  StoppedRun run;
  const pid_t child = ::fork();
  if (child == 0) be_traced(body);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFSTOPPED(status)) return run;  // PTRACE_TRACEME was refused
  run.traced = true;
  ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  for (;;) {
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    ::waitpid(child, &status, 0);
    if (WIFEXITED(status) || WIFSIGNALED(status)) break;
    __ptrace_syscall_info info{};
    if (WSTOPSIG(status) != (SIGTRAP | 0x80) ||
        ::ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info) <= 0 ||
        info.op != PTRACE_SYSCALL_INFO_ENTRY)
      continue;
    const std::string name = changing_call(info);
    if (name.empty()) continue;
    if (run.calls.size() == stop) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      run.killed = true;
      return run;
    }
    run.calls.push_back(name);
  }
  run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return run;
}

}  // namespace hwid::test
