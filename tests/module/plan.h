// What the test module shall do otherwise than the real one.
#pragma once

#include <p11-kit/pkcs11.h>

#include <array>
#include <atomic>
#include <bitset>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/module/functions.h"

namespace hwid::test {

using FunctionSet = std::bitset<kFunctionCount>;

// How a function tells its length, count, attributes or texts wrongly.
enum class Lie { kTooSmall, kTooLarge, kHuge, kUnavailable, kBlank, kFull, kNul, kNoSerial };

// What C_Initialize and C_OpenSession may be asked for, and can refuse.
enum class Asked { kOsLocking, kCallbacks, kReserved, kArguments, kNoArguments, kNotify };
inline constexpr std::size_t kAskedCount = 6;

// Something that happens at the `nth` call after the directive was given and the `times - 1` that
// follow (times 0: for ever), counted over all functions that it watches.
struct Rule {
  enum class Kind { kFault, kDelay, kLie, kEvent };
  Kind kind = Kind::kFault;
  std::uint64_t nth = 1;
  std::uint64_t times = 0;
  bool after = false;  // a fault, an event: once the real module has been asked
  CK_RV answer = CKR_OK;
  std::chrono::microseconds delay{0};
  Lie lie = Lie::kTooSmall;
  std::optional<CK_ATTRIBUTE_TYPE> only_attribute;
  std::string event;  // a directive
  mutable std::atomic<std::uint64_t> seen{0};

  bool strikes() const noexcept {
    const std::uint64_t call = ++seen;
    return call >= nth && (times == 0 || call < nth + times);
  }
};

// The rules that strike one call.
struct Strikes {
  const Rule* fault = nullptr;
  const Rule* lie = nullptr;
  std::chrono::microseconds delay{0};
  std::vector<const Rule*> events;
};

// A plan is never changed once it is in use, its rules' call counts aside: calls read it without
// a lock, control makes a changed copy (which shares the rules).
struct Plan {
  struct Watch {
    FunctionSet functions;
    std::shared_ptr<const Rule> rule;
  };
  std::vector<Watch> watches;
  std::size_t max_sessions = std::numeric_limits<std::size_t>::max();
  CK_FLAGS token_flags_set = 0;
  CK_FLAGS token_flags_cleared = 0;
  std::vector<CK_MECHANISM_TYPE> hidden_mechanisms;
  std::vector<CK_ATTRIBUTE_TYPE> hidden_attributes;
  std::map<CK_ATTRIBUTE_TYPE, std::string> attributes;  // told instead of the real ones
  std::array<CK_RV, kAskedCount> refusals{};
  FunctionSet hidden_functions;  // null in the function list
  CK_VERSION list_version{2, 40};
  std::uint64_t pin_tries = 0;  // wrong PINs in a row that lock the token; 0: never
  std::string pin_pad;          // what is typed there, where a login comes without a PIN
  bool token_removed = false;
  bool strict_fork = false;
  bool sort_objects = false;
  bool record = false;

  // Counts the call in every rule that watches it.
  Strikes strikes(Function function) const;
  // Takes `functions` out of the rules of that kind.
  void forget(Rule::Kind kind, const FunctionSet& functions);
  CK_RV refusal(Asked asked) const noexcept { return refusals[static_cast<std::size_t>(asked)]; }
  bool hides_mechanism(CK_MECHANISM_TYPE type) const noexcept;
  bool hides_attribute(CK_ATTRIBUTE_TYPE type) const noexcept;
};

}  // namespace hwid::test
