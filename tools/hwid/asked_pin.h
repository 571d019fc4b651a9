// PINs that a subcommand is given besides the one of --pin-source.
#pragma once

#include <string>

#include "provider/core/secret.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {

// From where `option` (a pin-source) says, else asked for at the terminal as `what`, twice where it
// is new: nobody sees what is typed. Throws kPinMissing where there is none.
core::Secret asked_pin(Invocation& invocation, const char* option, const std::string& what,
                       bool is_new);

}  // namespace hwid::tool
