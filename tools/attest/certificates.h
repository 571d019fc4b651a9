// Certificates of endorsement keys and attestation keys.
#pragma once

#include <openssl/x509_vfy.h>

#include <memory>
#include <string>
#include <vector>

#include "provider/core/libcrypto.h"

namespace hwid::attest {

// Purposes of TCG's (EK Credential Profile, 3.2.16; TPM 2.0 Keys for Device Identity, 8).
inline constexpr char kEkPurpose[] = "2.23.133.8.1";
inline constexpr char kAkPurpose[] = "2.23.133.8.3";

// An extension in the certificate of an AK: beside which EK it was accepted. SHA-256 of the EK's
// certificate, as an OCTET STRING. The identifier is this project's own, as kPrivateOid.
inline constexpr char kAkEkOid[] = "2.25.167023048226118120337560874147275265930";
std::string ek_digest_value(core::ByteView digest);  // DER
// Empty: the certificate does not say it. Throws kBadParameter where that is damaged, or there
// twice.
core::Bytes ek_digest_in(const X509* ak_certificate);

// The certificates that a verifier trusts, and who of theirs is revoked.
struct Anchors {
  std::unique_ptr<X509_STORE, core::FreeWith<X509_STORE_free>> store;
  std::string path;                  // where they came from, for messages
  std::vector<std::string> revoked;  // serial numbers, upper case hexadecimal
};

// `contents`: of the files at `path`, each PEM or DER, certificates and CRLs; what is neither is
// left out. Each certificate is an anchor, also one of an intermediate CA: a maker's may be all
// that is there. Throws kBadParameter where no certificate is in them.
Anchors make_anchors(const core::Libcrypto& crypto, const std::vector<std::string>& contents,
                     const std::string& path);

// Why the certificate is not to be believed: it does not lead to an anchor, is not valid now, is
// revoked, or not for that purpose (an object identifier, in words `what`). Empty: it is.
std::string fault_of(const core::Libcrypto& crypto, X509* certificate, const Anchors& anchors,
                     const char* purpose, const char* what);

bool has_purpose(const X509* certificate, const char* purpose);

}  // namespace hwid::attest
