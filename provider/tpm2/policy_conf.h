// Policies as openssl.cnf and `hwid generate` name them.
#pragma once

#include "provider/core/config.h"
#include "provider/core/log.h"
#include "provider/tpm2/policy.h"

namespace hwid::tpm2 {

// Where the settings of a policy come from.
struct PolicySource {
  core::ConfigLookup setting;      // "statements", "pcr"
  core::ConfigLookup policies;     // "NAME.statements": of those that `or` names; may be null
  std::string origin;              // for messages: "policy booted"
  const core::Log* log = nullptr;  // borrowed; null: none
};

// True if there is one.
bool has_policy(const core::ConfigLookup& setting);

// Reads it, and the files that it names, for a key of that nameAlg. Throws kBadConfiguration for a
// wrong value, naming the setting; kBadReference for a file.
Policy read_policy(const core::Libcrypto& crypto, TPMI_ALG_HASH hash, const PolicySource& source);

// The same for a key that is there. Throws kBadConfiguration where it is not the key's.
std::shared_ptr<const KeyPolicy> policy_for(const core::Libcrypto& crypto, const TPMT_PUBLIC& area,
                                            const PolicySource& source);

// What openssl.cnf would say of it, in lines, with the values that PCRs are to have.
std::string settings_text(const PolicySource& source, const Policy& policy);

// Who signs policies: TPM2B_PUBLIC, or a PEM public key, which then has the attributes that
// tpm2_loadexternal gives it. nullopt: it is neither.
std::optional<TPM2B_PUBLIC> parse_signer(const core::Libcrypto& crypto, core::ByteView content);
// TPMT_SIGNATURE, or, by the key's type, the plain bytes of an RSA signature (PKCS #1 v1.5) or the
// DER of an ECDSA one, both with the key's nameAlg. nullopt: it is none.
std::optional<TPMT_SIGNATURE> parse_signature(const TPMT_PUBLIC& signer, core::ByteView content);

}  // namespace hwid::tpm2
