// hwid pin change: a new user PIN, on the token and in the file that holds it.
#include <algorithm>
#include <optional>

#include "tools/hwid/commands.h"
#include "tools/hwid/meant_tokens.h"
#include "tools/hwid/pin/administered_token.h"
#include "tools/hwid/pin/tpm_pins.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::PinState;
using core::Reason;
using core::Secret;

constexpr char kUnblock[] = "is locked; `hwid pin unblock` sets a new one with the SO PIN";

bool same(const Secret& a, const Secret& b) { return std::ranges::equal(a.reveal(), b.reveal()); }

// Where the PIN is now.
struct Source {
  core::PinChain chain;
  std::string file;  // that has it, or is to have it
};

Source source_of(Invocation& invocation, const core::KeyUri& uri, const core::TokenInfo& token,
                 const core::PinPrompt& prompt) {
  Source source;
  if (uri.pin_value()) source.chain.uri_value = &*uri.pin_value();
  if (uri.pin_source()) source.chain.uri_source = &*uri.pin_source();
  if (const core::BackendConfig* const backend = serving_backend(invocation, token)) {
    if (backend->pin) source.chain.configured_value = &*backend->pin;
    if (!backend->pin_source.empty()) source.chain.configured_source = &backend->pin_source;
  }
  source.chain.prompt = &prompt;
  source.chain.log = &invocation.log();
  if (source.chain.uri_source != nullptr)
    source.file = core::pin_source_path(*source.chain.uri_source);
  if (source.file.empty() && source.chain.configured_source != nullptr)
    source.file = core::pin_source_path(*source.chain.configured_source);
  return source;
}

Secret old_pin(const Source& source, const AdministeredToken& token) {
  std::optional<Secret> pin = source.chain.obtain("token " + token.slot().label);
  if (!pin)
    throw Error(Reason::kPinMissing,
                "the PIN that " + token.text() +
                    " has now: none was given, and there is no terminal to ask at; name where it "
                    "is with --pin-source");
  return std::move(*pin);
}

void require_user_tries(const AdministeredToken& token, bool force) {
  const PinState state = token.pin_facts().user;
  if (state == PinState::kNotSet)
    throw Error(Reason::kPinMissing,
                "CKF_USER_PIN_INITIALIZED " + token.text() +
                    ": the token has no user PIN yet; `hwid pin unblock` sets one with the SO PIN");
  require_tries(state, "PIN", token.text(), force, kUnblock);
}

[[noreturn]] void throw_wrong(const Error& error, const AdministeredToken& token,
                              const std::string& more) {
  throw Error(error.reason, error.code,
              std::string(error.what()) + more +
                  " (now: " + core::pin_state_text(token.pin_facts().user) + ")",
              error.where);
}

// Of an interrupted run: tried only where the other one is known to be wrong, and a wrong one would
// not lock the token.
void try_next_pin(AdministeredToken& token, const PinFile& file, const Secret& next_pin,
                  const Error& wrong, bool force) {
  const PinState state = token.pin_facts().user;
  if (state == PinState::kLocked || (state == PinState::kLastTry && !force))
    throw_wrong(
        wrong, token,
        "; " + file.next_path() +
            ", which an interrupted change left, may have the right one, and was not tried");
  try {
    token.admin().log_in(token.slot(), next_pin);
  } catch (const Error& error) {
    throw_wrong(error, token,
                "; neither the PIN that was given nor the one in " + file.next_path() +
                    ", which an interrupted change left, is right");
  }
}

// Logs in with `pin`, or else with what an interrupted change has left, which it finishes then:
// true, and `pin` is the token's. `file` may be null.
bool log_in(AdministeredToken& token, PinFile* file, Secret& pin, bool force) {
  std::optional<Secret> next;
  if (file != nullptr && file->has_next()) next = file->next();
  try {
    token.admin().log_in(token.slot(), pin);
    return false;
  } catch (const Error& wrong) {
    if (wrong.code != "CKR_PIN_INCORRECT") throw;
    if (!next || same(*next, pin)) throw_wrong(wrong, token, "");
    try_next_pin(token, *file, *next, wrong, force);
  }
  file->take_next();
  Output::note("an interrupted change of the PIN was finished: " + file->path() +
               " has the token's PIN");
  pin = std::move(*next);
  return true;
}

Renewal change(Invocation& invocation, const core::KeyUri& uri, const core::TokenInfo& info) {
  const bool force = invocation.flag("force");
  const core::PinPrompt prompt = Invocation::prompt();
  const Source source = source_of(invocation, uri, info, prompt);
  // First: the token is looked at, and the old PIN read, as another change has left them.
  std::optional<PinFile> file;
  if (!source.file.empty()) file.emplace(source.file, invocation.log());
  AdministeredToken token(invocation, info);
  require_user_tries(token, force);
  PinFile* const place = file ? &*file : nullptr;
  Secret old = old_pin(source, token);
  const Secret pin = new_pin(invocation, token, place);
  Renewal renewal{"PIN changed", file ? file->path() : "", false};
  renewal.finished_interrupted = log_in(token, place, old, force);
  if (!same(pin, old))
    renew(place, pin, [&] { token.admin().change_pin(token.slot(), old, pin); });
  else if (!renewal.finished_interrupted)
    throw Error(Reason::kExists,
                "the new PIN of " + token.text() + ": it is the old one; choose another one");
  return renewal;
}

Exit run(Invocation& invocation) {
  const core::KeyUri uri = followed(invocation, invocation.arguments()[0]);
  const core::TokenInfo token = token_meant(invocation, uri);
  if (token.kind == "tpm2") throw_no_tpm_pin(uri, token);
  report(invocation, token, change(invocation, uri, token));
  return kGood;
}

}  // namespace

const Command kPinChange = {
    "pin change",
    "URI",
    "give a token a new user PIN",
    "The PIN that the token has now comes from --pin-source, else from openssl.cnf, else from a "
    "question\n"
    "at the terminal. Where it is in a file, the new one takes its place there, in an order that a "
    "power\n"
    "loss cannot hurt: the new PIN is written to FILE.new, then the token gets it, then FILE.new "
    "becomes\n"
    "FILE. If a run was interrupted, the next one finds out which is right. A wrong PIN costs one "
    "try.",
    "  hwid pin change 'pkcs11:token=line-7' --generate\n"
    "  hwid pin change 'pkcs11:token=line-7' --new-pin-source env:NEW_PIN\n"
    "  hwid pin change 'pkcs11:token=line-7' --pin-source file:/etc/hwid/line-7.pin\n",
    1,
    1,
    add_new_pin_options,
    run};

}  // namespace hwid::tool
