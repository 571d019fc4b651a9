#include "tools/hwid/pin/tpm_pins.h"

#include <optional>

#include "provider/core/error.h"
#include "provider/core/pin.h"
#include "tools/hwid/meant_tokens.h"

namespace hwid::tool {

using core::Error;
using core::Reason;
using core::Secret;
using core::TokenInfo;

void throw_no_tpm_pin(const core::KeyUri& uri, const TokenInfo& tpm) {
  std::string why = "a TPM (" + tpm.uri +
                    ") has no PIN: each key has an auth value of its own, that it was made with; "
                    "name a key, or make a new one with `hwid generate`";
  if (uri.file())
    why =
        "the auth value of a key in a file is part of the file: make a new key, or the file anew "
        "with tpm2_load, tpm2_changeauth and tpm2_encodeobject";
  else if (uri.names_object())
    why =
        "a TPM cannot change the auth value of a persistent key; make a new key (`hwid generate`) "
        "with the new value in pin-source, and delete this one";
  throw Error(Reason::kUnsupported, "TPM2_ObjectChangeAuth: " + uri.text() + ": " + why);
}

Exit unblock_tpm(Invocation& invocation, const core::KeyUri& uri) {
  for (const char* const option : {"new-pin-source", "pin-source"}) {
    if (invocation.has(option))
      throw UsageError(std::string("--") + option +
                       ": the end of a lockout changes no auth value; leave it out");
  }
  if (invocation.flag("generate"))
    throw UsageError("--generate: the end of a lockout changes no auth value; leave it out");
  std::optional<Secret> auth;
  if (invocation.has("so-pin-source"))
    auth = core::read_pin_source(invocation.text("so-pin-source"), invocation.log());
  invocation.router().end_lockout(uri, auth ? &*auth : nullptr);
  const TokenInfo after = token_meant(invocation, uri);
  Output& out = invocation.out();
  out.heading("Lockout ended");
  out.field("uri", after.uri);
  const std::uint32_t failures = after.lockout ? after.lockout->failures : 0;
  out.field("failures", std::to_string(failures));
  out.document({{"done", "Lockout ended"}, {"uri", after.uri}, {"failures", failures}});
  return kGood;
}

}  // namespace hwid::tool
