// The evidence about a key, as its file has it (doc/attestation.md).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "provider/tpm2/pcr.h"
#include "tools/attest/structures.h"

namespace hwid::attest {

// What the TPM said, and the AK's signature under it: marshalled TPMS_ATTEST and TPMT_SIGNATURE, or
// the plain signature. Anybody's bytes until they are checked.
struct Statement {
  core::Bytes attest;
  core::Bytes signature;
};

struct Evidence {
  std::optional<TPM2B_PUBLIC> ak;
  core::Bytes ak_certificate;  // DER; empty: none
  core::Bytes ek_certificate;  // likewise: it says which TPM it is to be, and proves nothing
  std::optional<TPM2B_PUBLIC> key;
  std::optional<Statement> certify;   // TPM2_Certify of the key
  std::optional<Statement> creation;  // TPM2_CertifyCreation of it
  core::Bytes creation_data;          // TPMS_CREATION_DATA
  std::optional<Statement> quote;
  std::vector<tpm2::PcrValue> pcrs;  // which the quote's digest is of
};

inline constexpr char kEvidenceFormat[] = "hwid-attestation";

std::string to_text(const Evidence& evidence);  // JSON
// Throws as Document does.
Evidence parse_evidence(const std::string& text, const std::string& file);

// How a new key was made, for evidence that is made later. Holds no secret.
inline constexpr char kCreationFormat[] = "hwid-creation";
struct Creation {
  core::Bytes data;  // TPMS_CREATION_DATA
  core::Bytes hash;
  TPMT_TK_CREATION ticket{};
};
std::string to_text(const Creation& creation);
Creation parse_creation(const std::string& text, const std::string& file);

// An AK that was accepted: a verifier keeps it and trusts what it signs.
inline constexpr char kTrustedFormat[] = "hwid-trusted-ak";
std::string trusted_text(const core::Libcrypto& crypto, const TPM2B_PUBLIC& ak,
                         core::ByteView ek_certificate);
// Of such a file, or what tpm2_readpublic and tpm2_createak write (TPM2B_PUBLIC, TPMT_PUBLIC).
// Throws kBadParameter, of a certificate or public key with what is missing in it.
TPM2B_PUBLIC parse_trusted(const std::string& content, const std::string& file);
// The certificate of the EK that it was accepted beside, DER; empty: the file is a public area
// alone.
core::Bytes trusted_ek_certificate(const std::string& content, const std::string& file);

}  // namespace hwid::attest
