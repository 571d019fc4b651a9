// What the slots of a module hold.
#pragma once

#include <string>
#include <vector>

#include "provider/core/inventory.h"
#include "provider/pkcs11/module.h"

namespace hwid::pkcs11 {

// One entry for each slot with a token: C_GetSlotList, then C_GetSlotInfo and C_GetTokenInfo for
// each. `backend`: name of the section; `served`: label of the one token that it serves, or empty.
// Throws what the module answers as a whole.
std::vector<core::TokenInfo> inspect_slots(Module& module, const std::string& backend,
                                           const std::string& served);

// The entry of one slot.
core::TokenInfo inspect_slot(const Module::Use& use, CK_SLOT_ID slot, const std::string& module,
                             const std::string& backend, const std::string& served);

// What the flags of CK_TOKEN_INFO say.
core::PinState user_pin_state(CK_FLAGS flags) noexcept;
core::PinState so_pin_state(CK_FLAGS flags) noexcept;

// The entry of a module that cannot be used.
core::TokenInfo unusable_module(const std::string& path, const std::string& backend,
                                const std::string& problem);

}  // namespace hwid::pkcs11
