// hwid pin unblock: a new user PIN by the SO PIN, and the end of a TPM's lockout.
#include <optional>

#include "tools/hwid/asked_pin.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/meant_tokens.h"
#include "tools/hwid/pin/administered_token.h"
#include "tools/hwid/pin/tpm_pins.h"
#include "tools/hwid/pin_age.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::Secret;

std::string file_for(Invocation& invocation, const core::TokenInfo& token) {
  if (!invocation.has("pin-source"))
    return token.served ? configured_pin_file(token, invocation.config()) : "";
  std::string file = core::pin_source_path(invocation.text("pin-source"));
  if (file.empty())
    throw UsageError(
        "--pin-source: with unblock it names the file that gets the new PIN: file:PATH");
  return file;
}

void log_in(AdministeredToken& token, const Secret& so_pin) {
  try {
    token.admin().log_in_so(token.slot(), so_pin);
  } catch (const Error& error) {
    if (error.code != "CKR_PIN_INCORRECT") throw;
    throw Error(error.reason, error.code,
                std::string(error.what()) + " (it is the SO PIN, and one try was spent; now: " +
                    core::pin_state_text(token.pin_facts().so) + ")",
                error.where);
  }
}

Renewal unblock(Invocation& invocation, const core::TokenInfo& info) {
  const std::string path = file_for(invocation, info);
  std::optional<PinFile> file;
  if (!path.empty()) file.emplace(path, invocation.log());  // first, as in `pin change`
  AdministeredToken token(invocation, info);
  require_tries(token.pin_facts().so, "SO PIN", token.text(), invocation.flag("force"),
                "is locked, and so nobody can set a PIN; the token must be initialized anew, which "
                "erases its keys: `hwid init token --force`");
  PinFile* const place = file ? &*file : nullptr;
  const Secret so_pin =
      asked_pin(invocation, "so-pin-source", "SO PIN of " + printable(token.text()), false);
  const Secret pin = new_pin(invocation, token, place);
  // Before FILE.new is written: an interrupted change may have left the token's PIN there.
  log_in(token, so_pin);
  renew(place, pin, [&] { token.admin().set_pin(token.slot(), pin); });
  return {"PIN set", file ? file->path() : "", false};
}

void add_options(po::options_description& options) {
  add_new_pin_options(options);
  options.add_options()(
      "so-pin-source", po::value<std::string>()->value_name("SOURCE"),
      "where the security officer's PIN is, as --pin-source (default: a question at the "
      "terminal); of a TPM: the auth value of the lockout hierarchy");
}

Exit run(Invocation& invocation) {
  const core::KeyUri uri = followed(invocation, invocation.arguments()[0]);
  const core::TokenInfo token = token_meant(invocation, uri);
  if (token.kind == "tpm2") return unblock_tpm(invocation, uri);
  report(invocation, token, unblock(invocation, token));
  return kGood;
}

}  // namespace

const Command kPinUnblock = {
    "pin unblock",
    "URI",
    "unlock a PIN: a new one by the SO PIN",
    "Sets a new user PIN, whether the old one is locked, forgotten, or was never set, and with it "
    "the\n"
    "count of tries. Where the PIN is in a file by openssl.cnf, or by --pin-source file:PATH, the "
    "new one\n"
    "takes its place there. A wrong SO PIN costs one try. Of a TPM: ends the lockout, and forgives "
    "all\n"
    "failures; no auth value is changed.",
    "  hwid pin unblock 'pkcs11:token=line-7' --so-pin-source file:/root/so-pin --generate\n"
    "  hwid pin unblock 'pkcs11:token=line-7' --new-pin-source env:NEW_PIN\n"
    "  hwid pin unblock tpm2:\n",
    1,
    1,
    add_options,
    run};

}  // namespace hwid::tool
