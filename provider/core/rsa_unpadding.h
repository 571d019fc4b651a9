// RSA paddings taken off in software, in constant time: what a device's raw operation gave.
#pragma once

#include <optional>

#include "provider/core/bytes.h"
#include "provider/core/key.h"
#include "provider/core/libcrypto.h"
#include "provider/core/secret.h"

namespace hwid::core {

// RSAES-PKCS1-v1_5 (RFC 8017, 7.2.2). A damaged padding is no error: a message is given that
// depends on nothing but `rejection_key` and the ciphertext, of a length that does, too
// (draft-irtf-cfrg-rsa-guidance, 7), so nobody learns whether the padding was good. The key must
// be a secret of the RSA key, and the same each time.
Secret unpad_pkcs1(const Libcrypto& crypto, ByteView rejection_key, ByteView ciphertext,
                   ByteView encoded);

// The same for who has said that damage may show. Nullopt: damaged.
std::optional<Secret> unpad_pkcs1_strictly(ByteView encoded);

// The premaster secret of TLS 1.2's RSA key exchange, 48 bytes: random ones where the padding is
// damaged or the version in it is neither of the two (RFC 5246, 7.4.7.1). `negotiated_version` 0:
// only the client's is right.
Secret unpad_tls_premaster(const Libcrypto& crypto, ByteView encoded, unsigned client_version,
                           unsigned negotiated_version);

// RSAES-OAEP (RFC 8017, 7.1.2). Nullopt: damaged, or another digest or label; not to be told apart.
std::optional<Secret> unpad_oaep(const Libcrypto& crypto, const DecryptScheme& scheme,
                                 ByteView encoded);

}  // namespace hwid::core
