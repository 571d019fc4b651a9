#include "tools/hwid/pin/administered_token.h"

#include <algorithm>
#include <array>

#include "tools/hwid/asked_pin.h"
#include "tools/hwid/paths.h"
#include "tools/hwid/pin/random_pin.h"
#include "tools/hwid/pin_age.h"

namespace hwid::tool {

using core::Error;
using core::PinState;
using core::Reason;
using core::Secret;
using core::TokenInfo;

namespace {

std::string init_args_of(Invocation& invocation, const TokenInfo& info) {
  for (const core::BackendConfig& backend : invocation.config().backends) {
    if (backend.name == info.backend) return backend.init_args;
  }
  return "";
}

}  // namespace

TokenAdmin::Slot AdministeredToken::find(const TokenAdmin& admin, const TokenInfo& info) {
  for (const TokenAdmin::Slot& slot : admin.slots()) {
    if (slot.id == info.slot_id) return slot;
  }
  throw Error(Reason::kTokenRemoved, "C_GetSlotList: token=" + info.label +
                                         ": the token was removed from its slot; put it back");
}

AdministeredToken::AdministeredToken(Invocation& invocation, const TokenInfo& info)
    : info_(info),
      admin_(info.module, init_args_of(invocation, info), invocation.audit()),
      slot_(find(admin_, info)) {
  if (!info.initialized)
    throw Error(Reason::kTokenNotInitialized,
                info.uri +
                    ": the token is not initialized; `hwid init token` does that, and sets "
                    "a PIN");
  if (info.protected_authentication_path)
    throw Error(Reason::kUnsupported, "CKF_PROTECTED_AUTHENTICATION_PATH " + text() +
                                          ": its PIN is typed on the token itself; change it with "
                                          "the token's own tool");
}

void AdministeredToken::require_acceptable(const Secret& pin) const {
  const TokenAdmin::PinFacts facts = pin_facts();
  const bool too_short = facts.shortest != 0 && pin.size() < facts.shortest;
  const bool too_long = facts.longest != 0 && pin.size() > facts.longest;
  if (too_short || too_long)
    throw Error(Reason::kBadParameter,
                "the new PIN: " + text() + ": it is too " + (too_short ? "short" : "long") +
                    ", as the token takes " + std::to_string(facts.shortest) + " to " +
                    std::to_string(facts.longest) + " bytes; choose another one. No try was spent");
  if (std::ranges::find(pin.reveal(), std::uint8_t{0}) != pin.reveal().end())
    throw Error(Reason::kBadParameter,
                "the new PIN: " + text() + ": it has a NUL byte; choose another one");
}

const core::BackendConfig* serving_backend(Invocation& invocation, const TokenInfo& token) {
  if (!token.served) return nullptr;
  for (const core::BackendConfig& backend : invocation.config().backends) {
    if (backend.name == token.backend) return &backend;
  }
  return nullptr;
}

void require_tries(PinState state, const char* which, const std::string& token, bool force,
                   const char* when_locked) {
  const auto refuse = [&](const char* why) {
    throw Error(Reason::kPinLocked,
                "C_GetTokenInfo: " + token + ": the " + which + " " + why + ". No try was spent");
  };
  if (state == PinState::kLocked) refuse(when_locked);
  if (state == PinState::kLastTry && !force)
    refuse(
        "has one try left, and a wrong one locks it for good; make sure that it is right, and "
        "give --force");
}

bool was_refused(const Error& error) {
  if (error.code.empty() && error.reason == Reason::kBadParameter) return true;  // it was not asked
  constexpr std::array<std::string_view, 10> kRefusals = {"CKR_PIN_INCORRECT",
                                                          "CKR_PIN_INVALID",
                                                          "CKR_PIN_LEN_RANGE",
                                                          "CKR_PIN_LOCKED",
                                                          "CKR_SESSION_READ_ONLY",
                                                          "CKR_TOKEN_WRITE_PROTECTED",
                                                          "CKR_FUNCTION_NOT_SUPPORTED",
                                                          "CKR_USER_NOT_LOGGED_IN",
                                                          "CKR_USER_PIN_NOT_INITIALIZED",
                                                          "CKR_SESSION_COUNT"};
  return std::ranges::find(kRefusals, error.code) != kRefusals.end();
}

void renew(PinFile* file, const Secret& pin, const std::function<void()>& set) {
  if (file == nullptr) return set();
  file->write_next(pin);
  try {
    set();
  } catch (const Error& error) {
    if (was_refused(error)) {
      file->drop_next();
      throw;
    }
    throw Error(error.reason, error.code,
                std::string(error.what()) + " (whether the PIN was changed is not known: " +
                    file->next_path() + " has the new one, and " + file->path() +
                    " the old one; do the same again, it finds out which is right)",
                error.where);
  }
  try {
    file->take_next();
  } catch (const Error& error) {
    throw Error(error.reason, error.code,
                std::string(error.what()) + " (the token has the new PIN already, which is in " +
                    file->next_path() + ": mv it to " + file->path() + ")",
                error.where);
  }
}

void report(Invocation& invocation, const TokenInfo& token, const Renewal& renewal) {
  const core::BackendConfig* const backend = serving_backend(invocation, token);
  const std::string configured =
      backend != nullptr ? core::pin_source_path(backend->pin_source) : "";
  try {
    record_pin_change(token, invocation.config());
  } catch (const Error& error) {
    // The file's own time tells the age.
    if (renewal.pin_file.empty() || absolute(configured) != renewal.pin_file)
      Output::note(std::string("the PIN's age is not recorded: ") + error.what());
  }
  Output& out = invocation.out();
  out.heading(renewal.what);
  out.field("token", token.label);
  out.field("uri", token.uri);
  if (!renewal.pin_file.empty()) out.field("PIN file", renewal.pin_file);
  if (renewal.finished_interrupted)
    out.field("before", "an interrupted change was finished: its new PIN was the token's");
  const bool programs_see = !configured.empty() && absolute(configured) == renewal.pin_file;
  if (!programs_see && backend != nullptr && backend->pin)
    Output::note("openssl.cnf has the old PIN itself: write the new one there");
  else if (!programs_see && backend != nullptr && !backend->pin_source.empty())
    Output::note("programs take the PIN from " + backend->pin_source + ": put the new one there");
  out.document({{"done", renewal.what},
                {"token", token.label},
                {"serial", token.serial},
                {"uri", token.uri},
                {"pin_file", renewal.pin_file.empty() ? Json() : Json(renewal.pin_file)},
                {"finished_interrupted", renewal.finished_interrupted}});
}

void add_new_pin_options(po::options_description& options) {
  auto add = options.add_options();
  add("new-pin-source", po::value<std::string>()->value_name("SOURCE"),
      "where the new PIN is, as --pin-source (default: a question at the terminal)");
  add("generate", po::bool_switch(),
      "a new PIN at random, where the PIN is in a file; nobody sees it");
  add("force", po::bool_switch(), "dare the last try before the PIN is locked");
}

Secret new_pin(Invocation& invocation, const AdministeredToken& token, const PinFile* file) {
  Secret pin;
  if (invocation.flag("generate")) {
    if (invocation.has("new-pin-source"))
      throw UsageError("--generate, --new-pin-source: one of them");
    if (file == nullptr)
      throw UsageError("--generate: a PIN that nobody sees must be in a file, and " + token.text() +
                       " has none; name it with --pin-source file:PATH");
    const TokenAdmin::PinFacts facts = token.pin_facts();
    pin = random_pin(facts.shortest, facts.longest);
  } else {
    pin = asked_pin(invocation, "new-pin-source", "New PIN of " + printable(token.text()), true);
  }
  token.require_acceptable(pin);
  if (file != nullptr) require_fit_for_file(pin);
  return pin;
}

}  // namespace hwid::tool
