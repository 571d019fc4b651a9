// The public area of a TPM object: what the key is and may do, its name, and templates of new ones.
#pragma once

#include <tss2/tss2_tpm2_types.h>

#include <optional>
#include <string>
#include <string_view>

#include "provider/core/backend.h"
#include "provider/core/key.h"

namespace hwid::tpm2 {

// A marshalled TPM2B_PUBLIC; nullopt unless the bytes are exactly one (size field, no rest).
std::optional<TPM2B_PUBLIC> unmarshal_public(core::ByteView bytes);
core::Bytes marshal_public(const TPM2B_PUBLIC& area);  // throws kInternal

// Throws kUnsupported for what is no key pair and for curves that OpenSSL has not (BN, SM2),
// kBadParameter where the numbers make no key.
core::PublicKey public_key(const core::Libcrypto& crypto, const TPMT_PUBLIC& area);

// The object's name: nameAlg || H(TPMT_PUBLIC) (TPM 2.0 Part 1, 16). Throws kUnsupported for a
// nameAlg that libcrypto has not.
core::Bytes object_name(const core::Libcrypto& crypto, const TPMT_PUBLIC& area);

// The same of an NV index.
core::Bytes nv_name(const core::Libcrypto& crypto, const TPMS_NV_PUBLIC& area);

// What decides how a key can be used. `scheme` and `scheme_hash` are TPM2_ALG_NULL where the user
// chooses.
struct KeyTraits {
  core::Algorithm algorithm = core::Algorithm::kRsa;
  std::size_t bits = 0;     // of the modulus or the curve
  bool sign = false;        // TPM2_Sign
  bool decrypt = false;     // TPM2_RSA_Decrypt, TPM2_ECDH_ZGen
  bool restricted = false;  // signs only what the TPM hashed; decrypts only as a parent
  bool no_da = false;       // a wrong auth value does not count against the TPM's lockout
  bool user_with_auth = false;
  bool has_policy = false;
  TPM2_ALG_ID scheme = TPM2_ALG_NULL;
  TPM2_ALG_ID scheme_hash = TPM2_ALG_NULL;
  // For messages: why it is that it does not.
  std::string no_sign = "the key has no sign attribute";
  std::string no_decrypt = "the key has no decrypt attribute";

  std::size_t field_size() const noexcept { return (bits + 7) / 8; }
};
// Attributes, scheme and policy in the words of tpm2-tools: "fixedtpm|sign, scheme ...".
std::string traits_text(const TPMT_PUBLIC& area);

// True for a key pair that signs, decrypts or agrees: RSA or EC as public_key takes it, and no
// storage key, which only is a parent.
bool is_key(const TPMT_PUBLIC& area);
// What any object is: "storage key RSA 2048", "key EC P-256", "sealed data", "HMAC key".
std::string kind_text(const TPMT_PUBLIC& area);
core::Protection protection(const TPMT_PUBLIC& area);

KeyTraits key_traits(const TPMT_PUBLIC& area);  // throws kUnsupported as public_key does

// What TPM2_Create is given for a new key: sign and decrypt, no scheme, so that every signature is
// possible; RSA-PSS: sign only, with RSASSA-PSS and `digest`. One that attests: restricted, sign
// only, with ECDSA or RSASSA (TCG TPM v2.0 Provisioning Guidance, 7.6). Without an auth value noDA.
// `policy`: the digest, by SHA-256, of what alone opens the key; empty: its auth value does. Throws
// kUnsupported for what no TPM has (a group, an exponent beyond 32 bits, a digest).
TPM2B_PUBLIC key_template(const core::KeySpec& spec, core::Digest digest, bool has_auth,
                          core::ByteView policy = {});

// What TPM2_CreatePrimary is given for the parent of a TSS2 PRIVATE KEY: the storage key that
// draft-bottomley-tpm2-keys, section 3.1.8, describes, and tpm2-openssl makes.
enum class StorageKey { kP256, kRsa2048 };
TPM2B_PUBLIC storage_template(StorageKey kind);

// True if `area` could have been made from `wanted`: all is the same but what the TPM fills in.
// False for one that cannot be marshalled.
bool matches_template(const TPMT_PUBLIC& area, const TPMT_PUBLIC& wanted);

// The TPM's identifier of a digest, TPM2_ALG_NULL if it has none; its size in bytes, 0 if unknown.
TPM2_ALG_ID hash_algorithm(core::Digest digest) noexcept;
core::Digest digest_of(TPM2_ALG_ID hash) noexcept;  // kOther if it is none
std::size_t hash_size(TPM2_ALG_ID hash) noexcept;
std::optional<TPM2_ECC_CURVE> curve_named(std::string_view group) noexcept;  // OpenSSL's name
std::string algorithm_text(TPM2_ALG_ID algorithm);  // "TPM2_ALG_SHA256", "algorithm 0x27"

}  // namespace hwid::tpm2
