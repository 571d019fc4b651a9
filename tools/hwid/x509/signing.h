// Signatures over requests, certificates and CRLs, by any key that OpenSSL can reach.
#pragma once

#include <string>

#include "tools/attest/certificates.h"
#include "tools/hwid/x509/owners.h"

namespace hwid::tool::x509 {

// How a key signs. `digest` is empty where the algorithm has its own (Ed25519).
struct SignatureForm {
  std::string digest;
  bool pss = false;
};

// `digest` as the user gave it (empty: by the key; P-384 takes SHA-384, P-521 SHA-512, a key that
// allows one digest that one, all else SHA-256). `pss`: RSA with PSS padding though the key would
// allow the other; a key that is PSS only has it anyhow. Throws UsageError where the key cannot.
SignatureForm signature_form(EVP_PKEY* key, const std::string& digest, bool pss,
                             OSSL_LIB_CTX* crypto);

// Throws what the key's token says, or kLibcrypto.
void sign(X509_REQ* request, EVP_PKEY* key, const SignatureForm& form, OSSL_LIB_CTX* crypto);
void sign(X509* certificate, EVP_PKEY* key, const SignatureForm& form, OSSL_LIB_CTX* crypto);
void sign(X509_CRL* crl, EVP_PKEY* key, const SignatureForm& form, OSSL_LIB_CTX* crypto);

// 126 random bits behind 01, as 16 bytes: positive, never zero (RFC 5280, section 4.1.2.2).
Integer random_serial(OSSL_LIB_CTX* crypto);
using attest::serial_text;

long parse_days(long days);  // returns it; throws UsageError unless it is 1 to 36500
// `seconds` and `days` from now. Throws std::bad_alloc.
Time time_from_now(long days, long seconds);
// What clocks that are a little slow still accept.
inline constexpr long kClockTolerance = -5L * 60;
bool is_past(const ASN1_TIME* time) noexcept;  // not if it is no time, or null
std::string time_text(const ASN1_TIME* time);  // "2026-11-28T22:31:05Z"; "?" if it is no time

}  // namespace hwid::tool::x509
