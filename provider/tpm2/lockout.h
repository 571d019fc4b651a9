// Care for the TPM's lockout (TPM 2.0 Part 1, 19.8).
#pragma once

#include <string>

#include "provider/tpm2/commands.h"

namespace hwid::tpm2 {

// Before a use without the auth value that is asked for, which would count as a wrong one does: one
// command. Throws kPinMissing where failures count already. `why`: who says that there is a value;
// `how`: where it is named.
void require_no_failures(Commands& commands, const std::string& why, const std::string& how);

}  // namespace hwid::tpm2
