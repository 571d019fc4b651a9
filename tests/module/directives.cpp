#include "tests/module/directives.h"

#include <functional>
#include <utility>

#include "tests/module/words.h"

namespace hwid::test {
namespace {

Directive only(Action action) { return {action, {}}; }

void add(Plan& plan, const FunctionSet& functions, std::shared_ptr<Rule> rule) {
  plan.watches.push_back({functions, std::move(rule)});
}

void read_fault(Words& words, Plan& plan) {
  auto rule = std::make_shared<Rule>();
  rule->kind = Rule::Kind::kFault;
  const FunctionSet functions = words.functions();
  rule->answer = words.answer();
  words.options(*rule);
  add(plan, functions, std::move(rule));
}

// Without a number it is what every call takes from now on, whatever was said before.
void read_delay(Words& words, Plan& plan) {
  auto rule = std::make_shared<Rule>();
  rule->kind = Rule::Kind::kDelay;
  const FunctionSet functions = words.functions();
  rule->delay = std::chrono::microseconds(static_cast<std::int64_t>(words.number()));
  words.options(*rule);
  if (rule->nth == 1 && rule->times == 0) plan.forget(Rule::Kind::kDelay, functions);
  if (rule->delay.count() > 0) add(plan, functions, std::move(rule));
}

Lie lie_by_name(Words& words) {
  static constexpr std::pair<std::string_view, Lie> kLies[] = {{"too-small", Lie::kTooSmall},
                                                               {"too-large", Lie::kTooLarge},
                                                               {"huge", Lie::kHuge},
                                                               {"unavailable", Lie::kUnavailable},
                                                               {"blank", Lie::kBlank},
                                                               {"full", Lie::kFull},
                                                               {"nul", Lie::kNul},
                                                               {"no-serial", Lie::kNoSerial}};
  const std::string word = words.next();
  for (const auto& [name, lie] : kLies) {
    if (word == name) return lie;
  }
  words.fail("no lie " + word);
}

bool can_tell(Tells tells, Lie lie) {
  const bool of_text =
      lie == Lie::kBlank || lie == Lie::kFull || lie == Lie::kNul || lie == Lie::kNoSerial;
  return of_text ? tells == Tells::kText : tells == Tells::kLength || tells == Tells::kAttributes;
}

void read_lie(Words& words, Plan& plan) {
  auto rule = std::make_shared<Rule>();
  rule->kind = Rule::Kind::kLie;
  FunctionSet functions = words.functions();
  rule->lie = lie_by_name(words);
  words.options(*rule);
  for (std::size_t i = 0; i < kFunctionCount; ++i) {
    if (!can_tell(kFunctions[i].tells, rule->lie)) functions[i] = false;
  }
  if (functions.none()) words.fail("the function tells no such thing");
  add(plan, functions, std::move(rule));
}

// A directive for later, once unless it says otherwise. It is read now, so that a misspelt one is
// refused now.
void read_event(Words& words, Plan& plan) {
  auto rule = std::make_shared<Rule>();
  rule->kind = Rule::Kind::kEvent;
  rule->times = 1;
  const FunctionSet functions = words.functions();
  words.options(*rule);
  rule->event = words.rest();
  Plan unused;
  (void)parse_directive(rule->event, unused);
  add(plan, functions, std::move(rule));
}

void read_refusal(Words& words, Plan& plan) {
  static constexpr std::string_view kNames[] = {"os-locking", "callbacks",    "reserved",
                                                "arguments",  "no-arguments", "notify"};
  static_assert(std::size(kNames) == kAskedCount);
  const std::string word = words.next();
  for (std::size_t i = 0; i < kAskedCount; ++i) {
    if (word != kNames[i]) continue;
    plan.refusals[i] = words.more() ? words.answer() : CK_RV{CKR_ARGUMENTS_BAD};
    return;
  }
  words.fail("nothing that can be refused: " + word);
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

void read_list_version(Words& words, Plan& plan) {
  const std::string word = words.next();
  const std::size_t dot = word.find('.');
  if (dot == std::string::npos) words.fail("no version: " + word);
  plan.list_version.major = static_cast<CK_BYTE>(words.to_number(word.substr(0, dot)));
  plan.list_version.minor = static_cast<CK_BYTE>(words.to_number(word.substr(dot + 1)));
}

template <typename Number>
void read_numbers(Words& words, std::vector<Number>& into) {
  while (words.more()) into.push_back(static_cast<Number>(words.number()));
}

struct Verb {
  std::string_view name;
  std::function<Directive(Words&, Plan&)> read;
};

// A verb that changes the plan and does nothing at once.
template <typename Read>
Verb plans(std::string_view name, Read read) {
  return {name, [read](Words& words, Plan& plan) {
            read(words, plan);
            return Directive{};
          }};
}

Verb acts(std::string_view name, Action action) {
  return {name, [action](Words&, Plan&) { return only(action); }};
}

std::vector<Verb> rule_verbs() {
  return {
      plans("fail", read_fault),
      plans("no-fail", [](Words& w, Plan& p) { p.forget(Rule::Kind::kFault, w.functions()); }),
      plans("delay-us", read_delay),
      plans("lie", read_lie),
      plans("at", read_event),
      plans("refuse", read_refusal),
  };
}

std::vector<Verb> state_verbs() {
  return {
      plans("max-sessions", [](Words& w, Plan& p) { p.max_sessions = w.number(); }),
      plans("token-flags", read_token_flags),
      plans("hide-mechanism", [](Words& w, Plan& p) { read_numbers(w, p.hidden_mechanisms); }),
      plans("hide-attribute", [](Words& w, Plan& p) { read_numbers(w, p.hidden_attributes); }),
      plans("attribute",
            [](Words& w, Plan& p) {
              const auto type = static_cast<CK_ATTRIBUTE_TYPE>(w.number());
              p.attributes[type] = w.hex();
            }),
      plans("hide-function", [](Words& w, Plan& p) { p.hidden_functions |= w.functions(); }),
      plans("show-function", [](Words& w, Plan& p) { p.hidden_functions &= ~w.functions(); }),
      plans("list-version", read_list_version),
      plans("insert-token", [](Words&, Plan& p) { p.token_removed = false; }),
      plans("pin-tries", [](Words& w, Plan& p) { p.pin_tries = w.number(); }),
      plans("pin-pad", [](Words& w, Plan& p) { p.pin_pad = w.next(); }),
      plans("strict-fork", [](Words& w, Plan& p) { p.strict_fork = w.on_off(); }),
      plans("sort-objects", [](Words& w, Plan& p) { p.sort_objects = w.on_off(); }),
  };
}

std::vector<Verb> action_verbs() {
  return {
      {"remove-token",
       [](Words&, Plan& p) {
         p.token_removed = true;
         return only(Action::kDropSessions);
       }},
      acts("drop-sessions", Action::kDropSessions),
      {"drop-session",
       [](Words& w, Plan&) {
         return Directive{Action::kDropSession, std::to_string(w.number())};
       }},
      acts("log-out", Action::kLogOut),
      acts("finalize", Action::kFinalize),
      acts("reinitialize", Action::kReinitialize),
      acts("reset-counts", Action::kResetCounts),
      {"record",
       [](Words& w, Plan& p) {
         p.record = w.on_off();
         return only(p.record ? Action::kResetRecord : Action::kNone);
       }},
      {"report",
       [](Words& w, Plan&) {
         return Directive{Action::kReport, w.next()};
       }},
      {"clear",
       [](Words&, Plan& p) {
         p = Plan{};
         return only(Action::kClear);
       }},
  };
}

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> kVerbs = [] {
    std::vector<Verb> all = rule_verbs();
    for (auto more : {state_verbs(), action_verbs()})
      all.insert(all.end(), more.begin(), more.end());
    return all;
  }();
  return kVerbs;
}

}  // namespace

Directive parse_directive(std::string_view line, Plan& plan) {
  Words words(line.substr(0, line.find('#')));
  if (!words.more()) return {};
  const std::string verb = words.next();
  for (const Verb& known : verbs()) {
    if (verb != known.name) continue;
    Directive directive = known.read(words, plan);
    if (words.more()) words.fail("unknown option " + words.next());
    return directive;
  }
  words.fail("unknown directive");
}

}  // namespace hwid::test
