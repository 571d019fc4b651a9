// Tokens and TPMs that are software, by what they say of themselves.
#pragma once

#include <string>

#include "provider/core/inventory.h"

namespace hwid::tool::verify {

// Why the device is no hardware, as the end of a sentence; empty where it claims to be. It is the
// device's own word: one that lies is not found out here. A virtual TPM counts as software, of the
// machine that runs this one.
std::string why_software(const core::TokenInfo& device);

}  // namespace hwid::tool::verify
