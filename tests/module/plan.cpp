#include "tests/module/plan.h"

#include <algorithm>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace hwid::test {
namespace {

constexpr std::pair<std::string_view, CK_RV> kAnswers[] = {
    {"CKR_OK", CKR_OK},
    {"CKR_HOST_MEMORY", CKR_HOST_MEMORY},
    {"CKR_SLOT_ID_INVALID", CKR_SLOT_ID_INVALID},
    {"CKR_GENERAL_ERROR", CKR_GENERAL_ERROR},
    {"CKR_FUNCTION_FAILED", CKR_FUNCTION_FAILED},
    {"CKR_ATTRIBUTE_SENSITIVE", CKR_ATTRIBUTE_SENSITIVE},
    {"CKR_ATTRIBUTE_TYPE_INVALID", CKR_ATTRIBUTE_TYPE_INVALID},
    {"CKR_DATA_INVALID", CKR_DATA_INVALID},
    {"CKR_DATA_LEN_RANGE", CKR_DATA_LEN_RANGE},
    {"CKR_DEVICE_ERROR", CKR_DEVICE_ERROR},
    {"CKR_DEVICE_MEMORY", CKR_DEVICE_MEMORY},
    {"CKR_DEVICE_REMOVED", CKR_DEVICE_REMOVED},
    {"CKR_FUNCTION_NOT_SUPPORTED", CKR_FUNCTION_NOT_SUPPORTED},
    {"CKR_KEY_HANDLE_INVALID", CKR_KEY_HANDLE_INVALID},
    {"CKR_KEY_FUNCTION_NOT_PERMITTED", CKR_KEY_FUNCTION_NOT_PERMITTED},
    {"CKR_MECHANISM_INVALID", CKR_MECHANISM_INVALID},
    {"CKR_MECHANISM_PARAM_INVALID", CKR_MECHANISM_PARAM_INVALID},
    {"CKR_OBJECT_HANDLE_INVALID", CKR_OBJECT_HANDLE_INVALID},
    {"CKR_OPERATION_ACTIVE", CKR_OPERATION_ACTIVE},
    {"CKR_OPERATION_NOT_INITIALIZED", CKR_OPERATION_NOT_INITIALIZED},
    {"CKR_PIN_INCORRECT", CKR_PIN_INCORRECT},
    {"CKR_PIN_EXPIRED", CKR_PIN_EXPIRED},
    {"CKR_PIN_LOCKED", CKR_PIN_LOCKED},
    {"CKR_SESSION_CLOSED", CKR_SESSION_CLOSED},
    {"CKR_SESSION_COUNT", CKR_SESSION_COUNT},
    {"CKR_SESSION_HANDLE_INVALID", CKR_SESSION_HANDLE_INVALID},
    {"CKR_SESSION_READ_ONLY", CKR_SESSION_READ_ONLY},
    {"CKR_TOKEN_NOT_PRESENT", CKR_TOKEN_NOT_PRESENT},
    {"CKR_TOKEN_NOT_RECOGNIZED", CKR_TOKEN_NOT_RECOGNIZED},
    {"CKR_TOKEN_WRITE_PROTECTED", CKR_TOKEN_WRITE_PROTECTED},
    {"CKR_USER_ALREADY_LOGGED_IN", CKR_USER_ALREADY_LOGGED_IN},
    {"CKR_USER_NOT_LOGGED_IN", CKR_USER_NOT_LOGGED_IN},
    {"CKR_USER_PIN_NOT_INITIALIZED", CKR_USER_PIN_NOT_INITIALIZED},
    {"CKR_BUFFER_TOO_SMALL", CKR_BUFFER_TOO_SMALL},
    {"CKR_CANT_LOCK", CKR_CANT_LOCK},
    {"CKR_CRYPTOKI_NOT_INITIALIZED", CKR_CRYPTOKI_NOT_INITIALIZED},
    {"CKR_CRYPTOKI_ALREADY_INITIALIZED", CKR_CRYPTOKI_ALREADY_INITIALIZED},
};

// The words of one directive, taken from left to right.
class Words {
 public:
  explicit Words(std::string_view line) : line_(line), stream_(std::string(line)) {}

  bool more() {
    stream_ >> std::ws;
    return !stream_.eof();
  }
  std::string next() {
    std::string word;
    if (!(stream_ >> word)) fail("a word is missing");
    return word;
  }
  std::uint64_t number() { return to_number(next()); }
  std::uint64_t to_number(const std::string& word) const {
    try {
      std::size_t used = 0;
      const std::uint64_t value = std::stoull(word, &used, 0);
      if (used == word.size()) return value;
    } catch (const std::exception&) {  // reported below, like trailing characters
    }
    fail("not a number: " + word);
  }
  CK_RV answer() {
    const std::string word = next();
    for (const auto& [name, value] : kAnswers) {
      if (word == name) return value;
    }
    return static_cast<CK_RV>(to_number(word));
  }
  // Every function for "*".
  std::vector<std::size_t> functions() {
    const std::string word = next();
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < kFunctionCount; ++i) {
      if (word == "*" || word == kFunctions[i].name) found.push_back(i);
    }
    if (found.empty()) fail("no function " + word);
    return found;
  }
  bool on_off() {
    const std::string word = next();
    if (word != "on" && word != "off") fail("neither on nor off: " + word);
    return word == "on";
  }
  [[noreturn]] void fail(const std::string& why) const {
    throw std::invalid_argument("directive \"" + std::string(line_) + "\": " + why);
  }

 private:
  std::string_view line_;
  std::istringstream stream_;
};

void read_fault(Words& words, Plan& plan) {
  const std::vector<std::size_t> functions = words.functions();
  const CK_RV answer = words.answer();
  std::uint64_t nth = 1;
  std::uint64_t times = 0;
  bool ask_first = false;
  while (words.more()) {
    const std::string option = words.next();
    if (option.starts_with("nth=")) {
      nth = words.to_number(option.substr(4));
    } else if (option.starts_with("times=")) {
      times = words.to_number(option.substr(6));
    } else if (option == "after") {
      ask_first = true;
    } else {
      words.fail("unknown option " + option);
    }
  }
  for (const std::size_t function : functions) {
    auto fault = std::make_shared<Fault>();
    fault->answer = answer;
    fault->nth = nth;
    fault->times = times;
    // An operation ends with any error but this one (PKCS#11 v2.40, 5.2), in the real module too.
    fault->ask_first = ask_first || (kFunctions[function].error_ends_operation &&
                                     answer != CKR_BUFFER_TOO_SMALL && answer != CKR_OK);
    plan.faults[function].push_back(std::move(fault));
  }
}

void read_token_flags(Words& words, Plan& plan) {
  while (words.more()) {
    const std::string word = words.next();
    const auto flag = static_cast<CK_FLAGS>(words.to_number(word.substr(1)));
    if (word[0] != '+' && word[0] != '-') words.fail("neither +FLAG nor -FLAG: " + word);
    CK_FLAGS& into = word[0] == '+' ? plan.token_flags_set : plan.token_flags_cleared;
    CK_FLAGS& out_of = word[0] == '+' ? plan.token_flags_cleared : plan.token_flags_set;
    into |= flag;
    out_of &= ~flag;
  }
}

void read_delay(Words& words, Plan& plan) {
  const std::vector<std::size_t> functions = words.functions();
  const auto delay = std::chrono::microseconds(static_cast<std::int64_t>(words.number()));
  for (const std::size_t function : functions) plan.delay[function] = delay;
}

void read_no_fail(Words& words, Plan& plan) {
  for (const std::size_t function : words.functions()) plan.faults[function].clear();
}

Directive clear(Plan& plan) {
  plan = Plan{};
  return {Action::kClear, {}};
}

struct Verb {
  std::string_view name;
  std::function<Directive(Words&, Plan&)> read;
};

Directive only(Action action) { return {action, {}}; }

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> kVerbs = {
      {"max-sessions",
       [](Words& w, Plan& p) {
         p.max_sessions = w.number();
         return Directive{};
       }},
      {"fail",
       [](Words& w, Plan& p) {
         read_fault(w, p);
         return Directive{};
       }},
      {"no-fail",
       [](Words& w, Plan& p) {
         read_no_fail(w, p);
         return Directive{};
       }},
      {"delay-us",
       [](Words& w, Plan& p) {
         read_delay(w, p);
         return Directive{};
       }},
      {"token-flags",
       [](Words& w, Plan& p) {
         read_token_flags(w, p);
         return Directive{};
       }},
      {"hide-mechanism",
       [](Words& w, Plan& p) {
         while (w.more()) p.hidden_mechanisms.push_back(static_cast<CK_MECHANISM_TYPE>(w.number()));
         return Directive{};
       }},
      {"hide-attribute",
       [](Words& w, Plan& p) {
         while (w.more()) p.hidden_attributes.push_back(static_cast<CK_ATTRIBUTE_TYPE>(w.number()));
         return Directive{};
       }},
      {"remove-token",
       [](Words&, Plan& p) {
         p.token_removed = true;
         return only(Action::kDropSessions);
       }},
      {"insert-token",
       [](Words&, Plan& p) {
         p.token_removed = false;
         return Directive{};
       }},
      {"strict-fork",
       [](Words& w, Plan& p) {
         p.strict_fork = w.on_off();
         return Directive{};
       }},
      {"drop-sessions", [](Words&, Plan&) { return only(Action::kDropSessions); }},
      {"log-out", [](Words&, Plan&) { return only(Action::kLogOut); }},
      {"finalize", [](Words&, Plan&) { return only(Action::kFinalize); }},
      {"reinitialize", [](Words&, Plan&) { return only(Action::kReinitialize); }},
      {"reset-counts", [](Words&, Plan&) { return only(Action::kResetCounts); }},
      {"report",
       [](Words& w, Plan&) {
         return Directive{Action::kReport, w.next()};
       }},
      {"clear", [](Words&, Plan& p) { return clear(p); }},
  };
  return kVerbs;
}

}  // namespace

bool Plan::hides_mechanism(CK_MECHANISM_TYPE type) const noexcept {
  return std::ranges::find(hidden_mechanisms, type) != hidden_mechanisms.end();
}

bool Plan::hides_attribute(CK_ATTRIBUTE_TYPE type) const noexcept {
  return std::ranges::find(hidden_attributes, type) != hidden_attributes.end();
}

Directive parse_directive(std::string_view line, Plan& plan) {
  Words words(line.substr(0, line.find('#')));
  if (!words.more()) return {};
  const std::string verb = words.next();
  for (const Verb& known : verbs()) {
    if (verb != known.name) continue;
    Directive directive = known.read(words, plan);
    if (words.more()) words.fail("too many words");
    return directive;
  }
  words.fail("unknown directive");
}

}  // namespace hwid::test
