// TSS2 PRIVATE KEY: a key that its TPM wrapped, in a file (draft-bottomley-tpm2-keys).
#pragma once

#include <tss2/tss2_tpm2_types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "provider/core/bytes.h"

namespace hwid::tpm2 {

// One command of a policy: its code, and its marshalled parameters behind the session handle.
struct PolicyStatement {
  std::uint32_t command = 0;
  core::Bytes parameters;
  bool operator==(const PolicyStatement&) const = default;
};
struct NamedPolicy {
  std::string name;
  std::vector<PolicyStatement> statements;
  bool operator==(const NamedPolicy&) const = default;
};

// All fields of a file. Nothing in it is secret: the private part is encrypted for its parent.
struct Tss2Key {
  enum class Kind { kLoadable, kImportable, kSealed };
  Kind kind = Kind::kLoadable;
  // No auth value is needed: a hint only, as tpm2_encodeobject 5.4 writes the opposite.
  bool empty_auth = false;
  std::vector<PolicyStatement> policy;   // all of them, in this order
  core::Bytes secret;                    // importable: as it stands in the file
  std::vector<NamedPolicy> auth_policy;  // one of them
  std::string description;
  bool rsa_parent = false;  // the parent is the RSA storage key, where `parent` is a hierarchy
  core::Bytes parent_name;  // empty: not given
  std::uint32_t parent = TPM2_RH_OWNER;  // a hierarchy, or a persistent handle
  TPM2B_PUBLIC public_area{};
  TPM2B_PRIVATE private_area{};
};

// What is read, since it was written by somebody: emptyAuth absent, FALSE, or TRUE as 0xff or 0x01;
// parent 0 (the owner hierarchy) or negative (by writers with 32-bit integers); DER or a longer
// form of its lengths; the first version of the format, type 2.23.133.10.2 ("TSS2 KEY BLOB").
// Throws kBadReference; the message begins "TSS2 PRIVATE KEY: " and names the field.
Tss2Key decode_tss2(core::ByteView der);

// In the form of the draft, with only the fields that are needed, as tpm2-openssl and
// openssl_tpm2_engine read it. Throws kInternal if a structure cannot be marshalled.
core::Bytes encode_tss2(const Tss2Key& key);

// Throws kUnsupported for what is no key: sealed data; and for keys that cannot be imported as they
// are: those that stay where they were made, and those that want an inner wrapper, of which the
// format has none.
void require_usable(const Tss2Key& key);

// `secret` of an importable key: the seed of its outer wrapper; of others size 0. Throws
// kBadReference where it is none.
TPM2B_ENCRYPTED_SECRET seed_of(const Tss2Key& key);

}  // namespace hwid::tpm2
