// That a key is in use where it is said to be, and that a certificate is its own.
#pragma once

#include "provider/core/key.h"
#include "tools/hwid/verify/report.h"
#include "tools/hwid/x509/owners.h"

namespace hwid::tool::verify {

// A certificate that is to be the key's, and what is to be said of it.
struct GivenCertificate {
  x509::Certificate certificate;
  CertificateFacts facts;
};

// The ways in which a key of its kind may sign, the usual one first. Whether it does is not asked.
std::vector<core::SignScheme> signing_schemes(const core::Key& key);
// A signature of `message`, hashed here or by the device. Throws what the device answers.
core::Bytes sign_message(const core::Libcrypto& crypto, const core::Key& key,
                         core::SignScheme scheme, core::ByteView message);

// Has the key do now what it can do - sign a fresh message, or decrypt, or agree on a secret - and
// checks the result in software with its own public half. Nothing where it may do none of that.
// Throws what else the device answers.
std::optional<bool> works(const core::Libcrypto& crypto, const core::Key& key);

// Adds checks of group kCertificate: that the certificate's key is `own`, and its dates.
void check_certificate(const GivenCertificate& given, EVP_PKEY* own, Report& report);

// The same, as a check, with `under`: the certificate's public key, or where there is none the
// key's own half.
void check_use(const core::Libcrypto& crypto, const core::Key& key, EVP_PKEY* under,
               bool is_certified, Report& report);
// The same with a key of OpenSSL's own, which signs or it is not checked.
void check_use(const core::Libcrypto& crypto, EVP_PKEY* key, EVP_PKEY* under, bool is_certified,
               Report& report);

}  // namespace hwid::tool::verify
