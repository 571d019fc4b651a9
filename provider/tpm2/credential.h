// TPM2_MakeCredential in software: a secret that a TPM gives out only where a certain key is beside
// its endorsement key (TPM 2.0 Part 1, 24). Needs no TPM.
#pragma once

#include <tss2/tss2_tpm2_types.h>

#include <optional>
#include <string>

#include "provider/core/libcrypto.h"
#include "provider/core/secret.h"

namespace hwid::tpm2 {

// What TPM2_ActivateCredential is given.
struct Credential {
  core::Bytes blob;                 // TPMS_ID_OBJECT: what a TPM2B_ID_OBJECT holds
  TPM2B_ENCRYPTED_SECRET secret{};  // the seed of it, for the endorsement key
};

// `secret` for the TPM that has `endorsement_key`, as long as the object of `name` is in it, too.
// At most as long as the key's nameAlg, or TPMs refuse it. Throws kUnsupported, kBadParameter for a
// key that cannot have such secrets (it is no storage key of AES-CFB), kLibcrypto.
Credential make_credential(const core::Libcrypto& crypto, const TPMT_PUBLIC& endorsement_key,
                           core::ByteView name, const core::Secret& secret);

// What is wrong with the form of its parts, in words; empty: a TPM can read it, and it may be for
// another one.
std::string fault_of_blob(core::ByteView blob);
std::string fault_of_seed(core::ByteView secret);

// The file of tpm2_makecredential, which tpm2_activatecredential reads: both parts behind a header.
core::Bytes tools_credential(const Credential& credential);
// nullopt: the bytes are no such file.
std::optional<Credential> parse_tools_credential(core::ByteView bytes);

}  // namespace hwid::tpm2
