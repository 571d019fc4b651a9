// The public half of a key that stands on its token without one.
#pragma once

#include <optional>

#include "provider/core/public_key.h"
#include "provider/pkcs11/search.h"

namespace hwid::pkcs11 {

// Computed from two signatures that the key makes of texts of ours with CKM_ECDSA (SEC 1 v2.0,
// 4.1.6). nullopt for keys of other types and explicit curves, for a key that does not sign, and
// for one that wants a login for each operation. REQUIRES: logged in, where the key needs that.
// Throws what the token answers where it lost something, or failed.
std::optional<core::PublicKey> recovered_half(Lease& lease, const core::Libcrypto& crypto,
                                              const ObjectAttributes& key, const Place& place);

// Whether `key`, which stands without a public half, is that of `half`: one such signature says so.
bool is_private_half_of(Lease& lease, const core::Libcrypto& crypto, const ObjectAttributes& key,
                        const core::PublicKey& half, const Place& place);

}  // namespace hwid::pkcs11
