// What a device says of a key and of itself, and what it does when it is asked for the key.
#pragma once

#include "provider/core/key.h"
#include "provider/pkcs11/key.h"
#include "provider/tpm2/key.h"
#include "tools/hwid/verify/report.h"

namespace hwid::tool::verify {

// All of it, of a key of either backend: fills in `device` and adds checks. Everything is asked
// now. Nothing on the device is changed. Throws core::Error where the device cannot be asked.
void examine(const core::Libcrypto& crypto, const core::Key& key, Report& report);

// The parts of it.
void examine_attributes(const core::Protection& protection, Report& report);
void attempt_on_token(const core::Libcrypto& crypto, const pkcs11::Key& key, Report& report);
void attempt_on_tpm(const tpm2::Key& key, Report& report);
void describe_device(core::TokenInfo info, Report& report);

}  // namespace hwid::tool::verify
