// PINs that nobody chose.
#pragma once

#include <cstddef>

#include "provider/core/secret.h"

namespace hwid::tool {

// Of digits, which every token takes: 32 of them, or as many as the limits allow (0: no limit).
// From the kernel's generator. Throws kInternal where that does not answer.
core::Secret random_pin(std::size_t shortest, std::size_t longest);

}  // namespace hwid::tool
