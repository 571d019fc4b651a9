// Runs something in a process of its own, whose crash or hanging harms nobody.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace hwid::tool {

struct ChildResult {
  // Empty: it ended with exit code 0. Else how it ended, in words: "exit code 1", "SIGSEGV",
  // "no end after 30 s".
  std::string problem;
  // Of both streams until it ended, at most 64 KiB. What it started, and left behind, is not waited
  // for, and writes into a closed pipe from then on.
  std::string output;
};

// How it ended, for waitpid's status: empty for exit code 0.
std::string end_text(int status);
// Throws kNotPermitted: `call` (pipe2, fork) made no process.
[[noreturn]] void throw_no_process(const char* call, int code);

// Of a child that was just made: it is sent that signal where its parent, which has that number,
// ends before it does.
void end_with_parent(pid_t parent, int signal);

// NAME=VALUE sets a variable, NAME alone removes it.
using Environment = std::vector<std::string>;

// `arguments[0]` is looked for in PATH; a program that is not there ends with "exit code 127". At
// the deadline all ends that it has started and that is of its process group. It has a session of
// its own, without a terminal: who wants to ask there fails at once. What ends this process
// (SIGINT, SIGTERM, SIGHUP, SIGQUIT) goes there, too, where the caller has one thread.
ChildResult run_program(const std::vector<std::string>& arguments, const Environment& environment,
                        std::chrono::seconds deadline);
// `body` in a forked child: REQUIRES that the caller has one thread. What it throws is the output,
// and a problem.
ChildResult run_forked(const std::function<void()>& body, const Environment& environment,
                       std::chrono::seconds deadline);

}  // namespace hwid::tool
