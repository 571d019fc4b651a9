// The backend for TPM 2.0, natively through tpm2-tss.
#pragma once

#include <memory>

#include "provider/core/backend.h"
#include "provider/core/config.h"
#include "provider/tpm2/tpm.h"

namespace hwid::tpm2 {

// What a section with `type = tpm2` describes, or the TPM that nobody configured. Touches nothing.
// Throws kBadConfiguration.
std::unique_ptr<core::Backend> make_backend(const core::BackendConfig& section);

// How that section's TPM is reached: what its backend gives to Tpm::get. Throws kBadConfiguration.
TpmSetup setup_of(const core::BackendConfig& section);

}  // namespace hwid::tpm2
