// From a signature scheme and what a key may do to the one TPM command that makes the signature.
#pragma once

#include <tss2/tss2_tpm2_types.h>

#include <array>
#include <string>

#include "provider/core/key.h"
#include "provider/core/libcrypto.h"
#include "provider/tpm2/public_area.h"

namespace hwid::tpm2 {

// How long a salt the TPM itself takes for RSASSA-PSS. Chips differ: TPM 2.0 Part 1, B.7 says the
// largest possible, libtpms and most newer chips take the digest's size, as TLS 1.3 wants.
enum class PssSalt { kDigestSize, kLargest };

// One way to make a signature.
struct SignPlan {
  enum class Command {
    kSign,      // TPM2_Sign of a digest, with a null ticket
    kHashSign,  // TPM2_Hash (or a hash sequence) of the message, then TPM2_Sign with its ticket
    kRawRsa,    // TPM2_RSA_Decrypt, scheme TPM2_ALG_NULL, of a block that is padded in software
  };
  Command command = Command::kSign;
  // For TPM2_Sign. TPM2_ALG_NULL where the key has a scheme of its own.
  TPMT_SIG_SCHEME scheme{};
  // kSign: of the digest that goes in, which is made longer or shorter to fit. kHashSign: what the
  // TPM hashes with.
  TPM2_ALG_ID hash = TPM2_ALG_NULL;
};

// Best first; there is always one. The second is for a TPM that does not know the hash algorithm or
// the scheme (TPM_RC_HASH, TPM_RC_SCHEME, TPM_RC_VALUE).
struct SignPlans {
  std::array<SignPlan, 2> plans;
  std::size_t count = 0;
  const SignPlan* begin() const noexcept { return plans.data(); }
  const SignPlan* end() const noexcept { return plans.data() + count; }
};

// Asks the TPM nothing. Throws kMechanismMissing with the reason where no command makes such a
// signature with this key, kNotPermitted where the key signs nothing at all.
SignPlans plans_for(const core::SignScheme& scheme, const KeyTraits& key, PssSalt salt);

// See core::Key::sign_input.
core::SignInput sign_input(const KeyTraits& key) noexcept;

// The salt that TPM2_Sign takes for RSASSA-PSS, in bytes.
std::size_t pss_salt_size(PssSalt salt, core::Digest digest, std::size_t modulus_bits) noexcept;

// What the command is given: of kSign the digest in hash_size(plan.hash) bytes, of kRawRsa a block
// as long as the modulus, of kHashSign the message as it is. Throws kBadParameter for an input of
// the wrong length.
core::Bytes prepare_input(const core::Libcrypto& crypto, const SignPlan& plan,
                          const core::SignScheme& scheme, core::ByteView input,
                          const KeyTraits& key);

// TPM2_Sign's answer as core::Key::sign gives it: the RSA signature, or r||s at fixed width. Throws
// kDeviceError if it is no signature of such a key.
core::Bytes signature_bytes(const TPMT_SIGNATURE& signature, const KeyTraits& key);

}  // namespace hwid::tpm2
