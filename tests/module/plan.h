// What the test module shall do otherwise than the real one.
#pragma once

#include <p11-kit/pkcs11.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/module/functions.h"

namespace hwid::test {

// An answer that replaces the real one, for the `nth` call after the directive was given and the
// `times - 1` that follow (times 0: for ever).
struct Fault {
  CK_RV answer = CKR_OK;
  std::uint64_t nth = 1;
  std::uint64_t times = 0;
  bool ask_first = false;  // the real module is called, and its answer replaced
  mutable std::atomic<std::uint64_t> seen{0};

  bool strikes() const noexcept {
    const std::uint64_t call = ++seen;
    return call >= nth && (times == 0 || call < nth + times);
  }
};

// A plan is never changed once it is in use, its faults' call counts aside: calls read it without
// a lock, control makes a changed copy (which shares the faults).
struct Plan {
  std::size_t max_sessions = std::numeric_limits<std::size_t>::max();
  std::array<std::chrono::microseconds, kFunctionCount> delay{};
  std::array<std::vector<std::shared_ptr<const Fault>>, kFunctionCount> faults;
  CK_FLAGS token_flags_set = 0;
  CK_FLAGS token_flags_cleared = 0;
  std::vector<CK_MECHANISM_TYPE> hidden_mechanisms;
  std::vector<CK_ATTRIBUTE_TYPE> hidden_attributes;
  bool token_removed = false;
  bool strict_fork = false;

  bool hides_mechanism(CK_MECHANISM_TYPE type) const noexcept;
  bool hides_attribute(CK_ATTRIBUTE_TYPE type) const noexcept;
};

// What is done at once, beside the plan.
enum class Action {
  kNone,
  kDropSessions,
  kLogOut,
  kFinalize,
  kReinitialize,
  kResetCounts,
  kReport,
  kClear,
};

struct Directive {
  Action action = Action::kNone;
  std::string argument;
};

// Reads one directive into `plan`. Throws std::invalid_argument, naming what it did not
// understand. README.md lists the directives.
Directive parse_directive(std::string_view line, Plan& plan);

}  // namespace hwid::test
