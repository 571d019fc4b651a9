// C_WrapKey by fresh session keys, under every mechanism that a token offers for it.
#pragma once

#include <vector>

#include "tools/prove_key_stays/extraction.h"

namespace hwid::prove {

// One attempt for each mechanism with CKF_WRAP. The wrapping keys are generated in the session, or
// where the token does not do that, brought along; they are destroyed at the end. A mechanism that
// is not known here is tried with the parameters that most have. Throws as try_to_extract.
std::vector<Attempt> try_to_wrap(const TokenAccess& token, CK_OBJECT_HANDLE key);

}  // namespace hwid::prove
