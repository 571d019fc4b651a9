// DER AlgorithmIdentifier of signatures.
#pragma once

#include "provider/core/key.h"

namespace hwid::ossl {

// RFC 5480, RFC 8017 A.2 (RSASSA-PSS with its parameters, defaults left out), RFC 4055.
// Throws kUnsupported where digest and key type have no identifier together.
core::Bytes algorithm_id(const core::SignScheme& scheme);
// Of EdDSA, which is named as its key is (RFC 8410, 6).
core::Bytes algorithm_id(core::Algorithm edwards);

}  // namespace hwid::ossl
