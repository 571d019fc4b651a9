// What a TPM says of itself.
#pragma once

#include "provider/core/inventory.h"
#include "provider/tpm2/tpm.h"

namespace hwid::tpm2 {

// Fills in what the TPM says: maker, model, firmware, lockout. Three commands (GetCapability), no
// authorization. Throws core::Error.
void inspect(Tpm& tpm, const Caller& caller, core::TokenInfo& token);

}  // namespace hwid::tpm2
