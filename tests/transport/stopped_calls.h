#pragma once

#include <functional>
#include <string>
#include <vector>

namespace hwid::test {

// What a child process did to the file system: the names of its system calls, such as "rename".
struct StoppedRun {
  bool traced = false;  // false: this kernel lets no process be traced
  bool killed = false;  // else it came to its end, and `exit_code` is its own
  int exit_code = 0;
  std::vector<std::string> calls;
};

// Runs `body` in a child process, which is killed (SIGKILL) before it makes its call number `stop`
// that changes the file system; they are counted from 0. An exception of `body` is exit code 1.
StoppedRun run_until_call(std::size_t stop, const std::function<void()>& body);

}  // namespace hwid::test
