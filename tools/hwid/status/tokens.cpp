#include "tools/hwid/status/tokens.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "provider/core/error.h"
#include "provider/core/shell_word.h"
#include "tools/hwid/facts.h"
#include "tools/hwid/pin_age.h"
#include "tools/hwid/time_words.h"

namespace hwid::tool::status {
namespace {

using core::PinState;
using core::shell_word;
using core::TokenInfo;

std::string name_of(const TokenInfo& token) {
  return token.label.empty() ? token.uri : token.label;
}

std::string qualifier_of(const TokenInfo& token) {
  return token.serial.empty() ? token.module : "serial " + token.serial;
}

Labels labels_of(const TokenInfo& token) {
  Labels labels = {{"token", name_of(token)}, {"backend", token.backend}};
  if (!token.serial.empty()) labels.emplace_back("serial", token.serial);
  return labels;
}

// What hwid_token_pin_state says; nullopt: the token does not tell.
std::optional<std::int64_t> number_of(PinState state) {
  switch (state) {
    case PinState::kOk:
      return 0;
    case PinState::kLow:
      return 1;
    case PinState::kLastTry:
      return 2;
    case PinState::kLocked:
      return 3;
    default:
      return std::nullopt;
  }
}

std::string unblock_command(const TokenInfo& token) {
  return "`hwid pin unblock " + shell_word(token.uri) + "`";
}

Check pin_check(const TokenInfo& token) {
  const bool is_tpm = token.kind == "tpm2";  // a right auth value takes no failure back
  Check check{"pin",
              name_of(token),
              token.uri,
              State::kOk,
              core::pin_state_text(token.user_pin),
              "tries left: all",
              ""};
  switch (token.user_pin) {
    case PinState::kOk:
      break;
    case PinState::kUnknown:
      check.state = State::kUnknown;
      check.text = "the token does not tell how many tries are left";
      break;
    case PinState::kLow:
      check.state = State::kWarning;
      check.text = "a wrong PIN was given since the right one";
      check.next = "see which program has it wrong: `hwid audit` finds failed logins";
      break;
    case PinState::kLastTry:
      check.state = State::kCritical;
      check.text =
          is_tpm ? "the next wrong auth value locks the TPM" : "the next wrong PIN locks it";
      check.next = "stop what has it wrong (`hwid audit` finds failed logins), and " +
                   (is_tpm ? "forgive the failures: " + unblock_command(token)
                           : "log in once with the right one");
      break;
    case PinState::kLocked:
      check.state = State::kCritical;
      check.text =
          is_tpm ? "locked: it takes no auth value any more" : "locked: it takes no PIN any more";
      check.next = is_tpm ? "wait, or end it: " + unblock_command(token)
                          : "unblock it: `hwid pin unblock` sets a new one";
      break;
    case PinState::kNotSet:
      check.state = State::kWarning;
      check.text = "no user PIN is set";
      check.next = "set one by the SO PIN: `hwid pin unblock`";
      break;
  }
  return check;
}

std::string recovery_text(const core::Lockout& lockout) {
  if (lockout.forgiven_after == 0) return "none is ever forgiven";
  return "one is forgiven each " + duration_text(std::chrono::seconds(lockout.forgiven_after));
}

void check_lockout(const TokenInfo& token, const core::Lockout& lockout, Report& report) {
  Check check{"lockout", name_of(token), token.uri, State::kOk, lockout.failures, "", ""};
  check.text = std::to_string(lockout.failures) + " of " + std::to_string(lockout.most_failures) +
               " failures, " + recovery_text(lockout);
  if (lockout.locked) {
    check.state = State::kCritical;
    check.text = "locked: " + check.text;
    check.next = "wait, or end it: " + unblock_command(token);
  } else if (lockout.failures != 0) {
    check.state = State::kWarning;
    check.next = "see which program has an auth value wrong: `hwid audit` finds it";
  }
  report.add(std::move(check), qualifier_of(token));
  report.sample("hwid_tpm_lockout_failures", labels_of(token), lockout.failures);
  report.sample("hwid_tpm_lockout_max", labels_of(token), lockout.most_failures);
}

// Why the backend, its module or a slot cannot be looked at; null if nothing is known.
const TokenInfo* problem_of(const std::vector<TokenInfo>& inventory, const std::string& backend) {
  const auto found = std::ranges::find_if(inventory, [&](const TokenInfo& token) {
    return token.backend == backend && !token.problem.empty();
  });
  return found != inventory.end() ? &*found : nullptr;
}

}  // namespace

std::vector<TokenInfo> usable(const std::vector<TokenInfo>& inventory) {
  std::vector<TokenInfo> tokens;
  for (const TokenInfo& token : inventory) {
    if (token.present && token.initialized && token.served && token.problem.empty())
      tokens.push_back(token);
  }
  return tokens;
}

void check_presence(const std::vector<TokenInfo>& inventory, const core::Config& config,
                    Report& report) {
  const std::vector<TokenInfo> tokens = usable(inventory);
  for (const core::BackendConfig& backend : config.backends) {
    const bool is_tpm = backend.type == "tpm2";
    const bool names_one = !backend.token.empty() || is_tpm;
    // Whatever p11-kit or tpm2-tss find by themselves need not be there.
    if (backend.implicit || (!names_one && backend.module.empty())) continue;
    const auto token = std::ranges::find_if(tokens, [&](const TokenInfo& each) {
      // Of two sections that serve one token the inventory shows one.
      return is_tpm || !names_one ? each.backend == backend.name
                                  : each.label == core::one_line(backend.token);
    });
    const std::string subject = backend.token.empty() ? backend.name : backend.token;
    if (token != tokens.end()) {
      if (names_one)
        report.add({"token", subject, token->uri, State::kOk, "present",
                    "there (" + token->uri + ")", ""});
      continue;
    }
    const TokenInfo* const problem = problem_of(inventory, backend.name);
    const std::string why = problem != nullptr
                                ? problem->problem
                                : "backend " + backend.name + ": the token is not there";
    const std::string next =
        problem != nullptr ? ""
                           : "put it back, or name another in `token`; `hwid list` shows what is "
                             "there";
    if (problem != nullptr || names_one)
      report.add({"token", subject, is_tpm ? backend.tcti : backend.module, State::kCritical,
                  "absent", why, next});
  }
}

void check_pin(const TokenInfo& token, Report& report) {
  Check check = pin_check(token);
  if (token.user_pin_to_be_changed && check.state < State::kWarning) {
    check.state = State::kWarning;
    check.text = "the user PIN is to be changed";
    check.next = "change it: `hwid pin change`";
  }
  report.add(std::move(check), qualifier_of(token));
  if (const auto number = number_of(token.user_pin))
    report.sample("hwid_token_pin_state", labels_of(token), *number);
  if (token.lockout) check_lockout(token, *token.lockout, report);
}

void check_pin_age(const TokenInfo& token, const core::Config& config,
                   std::optional<std::chrono::seconds> most, std::time_t now, Report& report) {
  std::optional<PinAge> known;
  try {
    known = pin_age(token, config);
  } catch (const core::Error& error) {
    report.add({"pin-age", name_of(token), token.uri, State::kWarning, nullptr, error.what(), ""},
               qualifier_of(token));
    return;
  }
  if (!known) return;
  const std::chrono::seconds age(known->seconds(now));
  Check check{"pin-age", name_of(token), token.uri, State::kOk, age.count(), "", ""};
  check.text = "the PIN is " + duration_text(age) + " old (" + known->source + ")";
  if (most && age > *most) {
    check.state = State::kWarning;
    check.next = "change it: `hwid pin change`";
  }
  report.add(std::move(check), qualifier_of(token));
  report.sample("hwid_pin_age_seconds", labels_of(token), age.count());
}

}  // namespace hwid::tool::status
