// hwid pin state: how many tries PINs have left, and how old they are. Spends no try.
#include <ctime>

#include "provider/core/error.h"
#include "provider/core/shell_word.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/facts.h"
#include "tools/hwid/meant_tokens.h"
#include "tools/hwid/pin_age.h"
#include "transport/certificate_text.h"

namespace hwid::tool {
namespace {

using core::Lockout;
using core::PinState;
using core::shell_word;
using core::TokenInfo;

std::string next_step(const TokenInfo& token) {
  const bool tpm = token.kind == "tpm2";
  switch (token.user_pin) {
    case PinState::kLocked:
      return "`hwid pin unblock " + shell_word(token.uri) + "` unlocks it";
    case PinState::kLastTry:
      return tpm ? "the next wrong auth value locks the TPM" : "the next wrong PIN locks it";
    case PinState::kNotSet:
      return "`hwid pin unblock " + shell_word(token.uri) + "` sets one";
    default:
      return "";
  }
}

std::string state_text(const TokenInfo& token) {
  std::string text = core::pin_state_text(token.user_pin);
  if (token.user_pin_to_be_changed) text += ", to be changed";
  const std::string next = token.initialized ? next_step(token) : "";
  return next.empty() ? text : text + "; " + next;
}

std::string seconds_text(std::uint32_t seconds) { return std::to_string(seconds) + " s"; }

void print(Output& out, const Lockout& lockout) {
  out.field("failures", std::to_string(lockout.failures) + ", at " +
                            std::to_string(lockout.most_failures) +
                            " no auth value is taken any more");
  out.field("forgiven", lockout.forgiven_after == 0
                            ? "never: only the lockout hierarchy's owner can clear them"
                            : "one each " + seconds_text(lockout.forgiven_after));
  out.field("lockout auth", lockout.recovery == 0
                                ? "after a wrong one: not before the next restart of the TPM"
                                : "after a wrong one: not for " + seconds_text(lockout.recovery));
}

constexpr std::time_t kDay = 86'400;  // seconds

std::string age_text(const std::optional<PinAge>& age) {
  if (!age) return "unknown: no change is recorded";
  const std::time_t days = age->seconds(std::time(nullptr)) / kDay;
  return transport::utc_text(age->since) + ", " + std::to_string(days) +
         (days == 1 ? " day" : " days") + " ago (" + age->source + ")";
}

Json age_json(const std::optional<PinAge>& age) {
  if (!age) return {};
  return {{"changed", transport::utc_text(age->since)},
          {"age_s", age->seconds(std::time(nullptr))},
          {"source", age->source}};
}

// A damaged record hides nothing else.
void show_age(Invocation& invocation, const TokenInfo& token, Json& json) {
  try {
    const std::optional<PinAge> age = pin_age(token, invocation.config());
    invocation.out().field("changed", age_text(age));
    json["user_pin_changed"] = age_json(age);
  } catch (const core::Error& error) {
    invocation.out().field("changed", std::string("problem: ") + error.what());
    json["user_pin_changed"] = {{"problem", error.what()}};
  }
}

Json show(Invocation& invocation, const TokenInfo& token) {
  Output& out = invocation.out();
  Json json = to_json(token);
  if (!token.problem.empty() && !token.present) {
    out.heading(token.backend + ": " + printable(token.kind + " " + token.module));
    out.field("problem", token.problem);
    return json;
  }
  out.heading("token " + printable(token.label.empty() ? "(no label)" : token.label));
  out.field("uri", token.uri);
  if (!token.initialized) {
    out.field("PIN", "none: the token is not initialized; `hwid init token` does that");
    return json;
  }
  out.field("PIN", state_text(token));
  if (token.kind == "tpm2")
    out.field("owner auth", core::pin_state_text(token.so_pin));
  else
    out.field("SO PIN", core::pin_state_text(token.so_pin));
  if (token.lockout) print(out, *token.lockout);
  json["user_pin_to_be_changed"] = token.user_pin_to_be_changed;
  show_age(invocation, token, json);
  if (!token.problem.empty()) out.field("problem", token.problem);
  return json;
}

Exit exit_for(const std::vector<TokenInfo>& tokens) {
  Exit code = kGood;
  for (const TokenInfo& token : tokens) {
    if (token.user_pin == PinState::kLocked || token.user_pin == PinState::kLastTry)
      return kAnswerIsNo;
    if (!token.problem.empty()) code = kEnvironment;
  }
  return code;
}

std::vector<TokenInfo> asked_for(Invocation& invocation) {
  const auto& arguments = invocation.arguments();
  if (!arguments.empty()) return tokens_meant(invocation, followed(invocation, arguments[0]));
  std::vector<TokenInfo> all = invocation.router().inventory();
  std::erase_if(all, [](const TokenInfo& token) { return !token.configured && !token.present; });
  return all;
}

Exit run(Invocation& invocation) {
  if (invocation.has("pin-source"))
    throw UsageError("--pin-source: the state is told without a PIN; leave it out");
  const std::vector<TokenInfo> tokens = asked_for(invocation);
  Json document = {{"tokens", Json::array()}};
  for (const TokenInfo& token : tokens) {
    document["tokens"].push_back(show(invocation, token));
    invocation.out().line();
  }
  if (tokens.empty()) invocation.out().line("There is no token.");
  invocation.out().document(document);
  return exit_for(tokens);
}

}  // namespace

const Command kPinState = {
    "pin state",
    "[URI]",
    "how many tries PINs have left, and how old they are",
    "Of every token, or of those that the URI means: ok, low (it was wrong since it was last "
    "right),\n"
    "last-try, locked, not-set. Of a TPM: the failures that count, how many are too many, and when "
    "they\n"
    "are forgiven. No try is spent. Exit 1 if a PIN is locked or at its last try.",
    "  hwid pin state\n"
    "  hwid pin state 'pkcs11:token=line-7' --json\n"
    "  hwid pin state tpm2:\n",
    0,
    1,
    nullptr,
    run};

}  // namespace hwid::tool
