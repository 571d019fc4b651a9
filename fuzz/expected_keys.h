// What public keys an object's values mean, worked out with libcrypto alone.
#pragma once

#include "fuzz/answers.h"
#include "provider/core/libcrypto.h"

namespace hwid::fuzz {

// True if `key`, whose SubjectPublicKeyInfo is `spki`, is one of the object's: of its
// CKA_PUBLIC_KEY_INFO, its numbers, or its certificate. What an RSA key may be used for aside.
bool has_key(OSSL_LIB_CTX* context, const FuzzObject& object, core::ByteView spki,
             const EVP_PKEY* key);

}  // namespace hwid::fuzz
