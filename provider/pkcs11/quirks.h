// What some tokens want to be asked in another way.
#pragma once

#include <string_view>

#include "provider/pkcs11/cryptoki.h"

namespace hwid::pkcs11 {

struct ModuleQuirks {
  // Of threads that wait for an answer some wait for ever.
  bool one_at_a_time = false;
  // What it opened stays in use in a forked child, whatever C_Initialize does there.
  bool survives_no_fork = false;
};

// By the name of the module's file, so that it is known without a call.
ModuleQuirks module_quirks_of(std::string_view path) noexcept;

struct Quirks {
  // Signs faster with a copy of the key in a session (PKCS#11 v2.40, 5.7, C_CopyObject).
  bool copy_keys = false;
  // Shows a blank serial number while another process writes into the token's file.
  bool has_serial_later = false;
};

// From what C_GetTokenInfo says; asks nothing.
Quirks quirks_of(const CK_TOKEN_INFO& info) noexcept;

}  // namespace hwid::pkcs11
