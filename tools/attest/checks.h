// What makes evidence good: everything is checked with public values alone. No TPM is asked.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "provider/core/public_key.h"
#include "tools/attest/certificates.h"
#include "tools/attest/evidence.h"

namespace hwid::attest {

// One question and its answer. All are asked, whatever the others say.
struct Check {
  std::string name;  // "certify: nonce"
  bool good;
  std::string detail;  // what was found, or why it is not good
};

// What a verifier knows beforehand. `ak` or `ak_anchors` says which AK is believed: without one of
// them nothing is, an EK certificate least of all.
struct Expectation {
  std::optional<core::Bytes> nonce;     // unset: the evidence may be old
  std::optional<TPM2B_PUBLIC> ak;       // accepted before, with its attributes
  core::Bytes ek_certificate;           // DER, of the TPM that `ak` was accepted in; empty: unknown
  core::Bytes wanted_ek;                // DER: the one that it must be; empty: any
  const Anchors* ak_anchors = nullptr;  // who certifies AKs
  const Anchors* ek_anchors = nullptr;  // who certifies EKs; says which TPM it is, and no more
  EVP_PKEY* certified = nullptr;        // the key that the evidence must be about
  std::vector<tpm2::PcrValue> pcrs;     // which the quote must have
  bool needs_key = true;                // false: a quote alone is enough
};

struct Verification {
  std::vector<Check> checks;
  std::string ak;  // who attests: the AK's name, and by whom it is believed
  // SHA-256 of the EK certificate that this AK was accepted beside, as the accepted AK or its
  // certificate says; empty: unknown, or the AK is not believed.
  core::Bytes ek_digest;
  std::optional<core::PublicKey> key;
  core::Bytes key_name;

  bool good() const noexcept;
  // The first that is not good, as a message; empty if none is.
  std::string fault() const;
};

Verification verify(const core::Libcrypto& crypto, const Evidence& evidence,
                    const Expectation& expected);

// Why `area` is not that of a key that attests; empty: it is. (Restricted, for signing only by
// SHA-256 or better, fixed to its TPM and made in it.)
std::string fault_of_ak(const TPMT_PUBLIC& area);
// Why a certificate whose key is `certified` is not that AK's; empty: it is.
std::string fault_of_ak_certificate(const core::Libcrypto& crypto, const EVP_PKEY* certified,
                                    const TPMT_PUBLIC& ak);
// As fault_of_ak(), of an endorsement key: restricted, for decryption only, fixed.
std::string fault_of_ek(const TPMT_PUBLIC& area);
// How two public keys differ, in words for the end of a message: in their values, or already in
// their types. Empty: they are the same. Nothing is left in OpenSSL's queue of errors.
std::string key_difference(const EVP_PKEY* found, const EVP_PKEY* wanted);
// Why a key is too weak to be believed: fewer than 112 bits of security, as OpenSSL counts them for
// its level 2 (RSA below 2048 bits, curves below 224). Empty: it is not.
std::string weakness_of(EVP_PKEY* key);

inline constexpr char kNotBound[] =
    "AK not bound to this EK: an EK certificate says which TPM there is, not that the AK is in it; "
    "have the AK accepted first (hwid attest request, challenge, answer, accept)";

}  // namespace hwid::attest
