// What stands for a PIN in a TPM.
#pragma once

#include "provider/core/inventory.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {

// A TPM has no PIN: each key has an auth value of its own. Says what to do for the key of `uri`.
[[noreturn]] void throw_no_tpm_pin(const core::KeyUri& uri, const core::TokenInfo& tpm);

// Ends the lockout by --so-pin-source, the auth value of the lockout hierarchy.
Exit unblock_tpm(Invocation& invocation, const core::KeyUri& uri);

}  // namespace hwid::tool
