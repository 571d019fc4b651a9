// C_CopyObject and C_SetAttributeValue, to have a key, or a copy of it, that may leave.
#pragma once

#include <vector>

#include "tools/prove_key_stays/extraction.h"

namespace hwid::prove {

// An attempt for each attribute that protects the key. Where one succeeds, the key, or its copy, is
// read and wrapped as it is then: some tokens only note down what they are told (tpm2-pkcs11). The
// attributes are changed back in the end, also where an error is thrown, and copies destroyed.
// Throws as try_to_extract.
std::vector<Attempt> try_to_weaken(const TokenAccess& token, CK_OBJECT_HANDLE key,
                                   const IsValue& is_value);

}  // namespace hwid::prove
