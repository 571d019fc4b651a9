// Whole processes as operations.
#pragma once

#include <string>
#include <vector>

#include "tests/fixture/command.h"

namespace hwid::bench {

// A program with what it adds to the environment of this process.
struct Program {
  std::vector<std::string> argv;  // found by PATH
  test::Environment environment;
};

// Runs it and returns the seconds from its start to its end. Throws std::runtime_error if it
// fails; what it prints goes to this program's standard error.
double run_process(const Program& program);
// Runs it and returns the number that it prints. Throws std::runtime_error.
double number_from(const Program& program);

// Calls of the counting module that it makes. `program` must have been told to use that module.
double calls_of_process(const Program& program);

}  // namespace hwid::bench
