// The language in which the test module is told what to do; README.md lists its words.
#pragma once

#include <p11-kit/pkcs11.h>

#include <string>
#include <string_view>

#include "tests/module/plan.h"

namespace hwid::test {

// What is done at once, beside the plan.
enum class Action {
  kNone,
  kDropSession,  // the open one of that number, counted from 1
  kDropSessions,
  kLogOut,
  kFinalize,
  kReinitialize,
  kResetCounts,
  kResetRecord,
  kReport,
  kClear,
};

struct Directive {
  Action action = Action::kNone;
  std::string argument;
};

// Reads one directive into `plan`. Throws std::invalid_argument, naming what it did not
// understand.
Directive parse_directive(std::string_view line, Plan& plan);

// "CKR_DEVICE_ERROR", or the number in hex where it has no name here.
std::string answer_name(CK_RV rv);

}  // namespace hwid::test
