// Evidence in a certificate request: that its key is in a TPM, for the CA that signs it.
#pragma once

#include <openssl/x509.h>

#include <optional>
#include <string>

#include "tools/attest/evidence.h"

namespace hwid::attest {

// All of it, as an extension that is wanted: DER of a UTF8String with the file's JSON. The
// identifier is this project's own, below 2.25 (ITU-T X.667, a UUID).
inline constexpr char kPrivateOid[] = "2.25.83006159834808359215558469248359536408";
std::string private_value(const Evidence& evidence);

// DRAFT: the certification alone, as draft-ietf-lamps-csr-attestation-17 has it, an attribute
// id-aa-evidence with an EvidenceBundle of one tcg-attest-tpm-certify (2.23.133.20.1), and the AK's
// certificate. It may change before it is an RFC, and so will what is written here. What others
// write is read as well: see doc/attestation.md.
inline constexpr char kDraftOid[] = "1.2.840.113549.1.9.16.2.59";
std::string draft_value(const Evidence& evidence);  // DER of the bundle; REQUIRES: key, certify

// What a request carries: the extension, else the attribute. nullopt: neither. Throws kBadParameter
// where it is damaged.
std::optional<Evidence> evidence_in(const X509_REQ* request, const std::string& file);

}  // namespace hwid::attest
