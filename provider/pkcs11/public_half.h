// The public half of a private key, from wherever the token has it.
#pragma once

#include <optional>
#include <vector>

#include "provider/core/libcrypto.h"
#include "provider/core/public_key.h"
#include "provider/pkcs11/search.h"

namespace hwid::pkcs11 {

// A private key with its public half, or why there is none.
struct PrivateKeyObject {
  ObjectAttributes attributes;
  std::optional<core::PublicKey> public_key;
  std::string problem;
};

bool is_supported_key_type(CK_KEY_TYPE type) noexcept;  // RSA and EC

// True if `allowed` names mechanisms, and all of them are RSA-PSS.
bool allows_only_pss(const std::vector<CK_MECHANISM_TYPE>& allowed) noexcept;

// From the object's own values; nullopt if they do not suffice. `pss_only` marks an RSA key that
// says nothing itself. Throws kBadParameter for values that make no key.
std::optional<core::PublicKey> public_key_of(const core::Libcrypto& crypto,
                                             const ObjectAttributes& object, bool pss_only);

// The private keys among `objects`, in their order. The public half comes from the private key
// itself, the public key objects and certificates of the same CKA_ID (of the same label, where
// there is no id) among `objects`, or one more search by CKA_ID, unless `searched`, which found
// `objects`, was as wide. Where several have the CKA_ID, those of the key's label come first, and
// those of another key's are not its; a problem where they differ.
std::vector<PrivateKeyObject> private_keys(Lease& lease, const core::Libcrypto& crypto,
                                           std::vector<ObjectAttributes>& objects,
                                           const SearchFor& searched, const Place& place);

}  // namespace hwid::pkcs11
