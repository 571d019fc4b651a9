// Whether bytes are a private value of a key.
#pragma once

#include "provider/core/public_key.h"
#include "provider/pkcs11/cryptoki.h"

namespace hwid::prove {

// True if `value` is what the attribute of that private key must be: CKA_VALUE (EC: big-endian
// number; RFC 8032 and 7748: the bytes), CKA_PRIVATE_EXPONENT, CKA_PRIME_1 and so on. Some modules
// answer that a value is sensitive, and put something else into the buffer (NSS: what its database
// has, encrypted). CKA_COEFFICIENT cannot be told by itself, and is never taken for one.
bool is_private_value(const core::Libcrypto& crypto, const core::PublicKey& key,
                      CK_ATTRIBUTE_TYPE attribute, core::ByteView value);

}  // namespace hwid::prove
