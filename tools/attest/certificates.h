// Certificates of endorsement keys and attestation keys.
#pragma once

#include <openssl/x509_vfy.h>

#include <memory>
#include <span>
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
  // Those that another one here certified: believed as far as that one is.
  std::vector<core::Certificate> between;
  std::string path;  // where they came from, for messages
  // A CA's index: whose it is (null: there is none), and who of that CA's is revoked.
  core::Certificate index_issuer;
  std::vector<std::string> revoked;  // serial numbers, upper case hexadecimal
};

// A file of certificates and CRLs: PEM, with whatever else, or one of them in DER.
struct AnchorFile {
  std::string path;
  std::string content;
};
// `path`: where the files are. A certificate whose issuer's is not among them is an anchor, also
// one of an intermediate CA: a maker's may be all that is there. A CRL counts for every certificate
// of its issuer, CAs as well; of an issuer without one nobody is revoked. Throws kBadParameter
// where no certificate is in them, and of a file that is damaged, or neither: a CRL that nobody
// reads would revoke nobody.
Anchors make_anchors(const core::Libcrypto& crypto, std::span<const AnchorFile> files,
                     const std::string& path);

// Why the certificate is not to be believed: it does not lead to an anchor, is not valid now, is
// revoked, or not for that purpose (an object identifier, in words `what`). Empty: it is.
std::string fault_of(const core::Libcrypto& crypto, X509* certificate, const Anchors& anchors,
                     const char* purpose, const char* what);

bool has_purpose(const X509* certificate, const char* purpose);

std::string serial_text(const ASN1_INTEGER* serial);  // upper case hexadecimal, whole bytes

}  // namespace hwid::attest
