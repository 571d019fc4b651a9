// One operation in one process, with at most one call that fails.
#pragma once

#include <string>
#include <vector>

#include "tests/token/outcomes_operations.h"

namespace hwid::test::outcomes {

struct Outcome {
  std::string first;  // of the operation while a call fails: "right", or the error in short
  std::string then;   // of the same operation after that
  std::string text;   // the error in full, without what differs from one machine to the next
};

// A child process that was never before: it prepares the operation, obeys `directives`, runs the
// operation, and once more without them. What must not be is in capitals: CRASH (a sanitizer's
// report as well), HANG, NO ERROR where there is none in the queue, BAD FORM where it does not say
// the call, the token and the next step, PIN SENT AGAIN where the token may have counted a try.
Outcome run_in_child(const Operation& operation, const std::string& directives);

// The calls of the operation, "C_Sign CKR_OK" each, where none fails. Throws std::runtime_error
// if it does not succeed.
std::vector<std::string> calls_of(const Operation& operation);

}  // namespace hwid::test::outcomes
