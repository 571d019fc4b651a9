// Owners of OpenSSL's X.509 objects.
#pragma once

#include <openssl/x509v3.h>

#include <memory>

#include "provider/core/libcrypto.h"

namespace hwid::tool::x509 {

using core::Certificate;
using Name = std::unique_ptr<X509_NAME, core::FreeWith<X509_NAME_free>>;
using Request = std::unique_ptr<X509_REQ, core::FreeWith<X509_REQ_free>>;
using Crl = std::unique_ptr<X509_CRL, core::FreeWith<X509_CRL_free>>;
using Revoked = std::unique_ptr<X509_REVOKED, core::FreeWith<X509_REVOKED_free>>;
using AltNames = std::unique_ptr<GENERAL_NAMES, core::FreeWith<GENERAL_NAMES_free>>;
using Integer = std::unique_ptr<ASN1_INTEGER, core::FreeWith<ASN1_INTEGER_free>>;
using Time = std::unique_ptr<ASN1_TIME, core::FreeWith<ASN1_TIME_free>>;
using Enumerated = std::unique_ptr<ASN1_ENUMERATED, core::FreeWith<ASN1_ENUMERATED_free>>;
using OctetString = std::unique_ptr<ASN1_OCTET_STRING, core::FreeWith<ASN1_OCTET_STRING_free>>;

// Throws std::bad_alloc where OpenSSL could not make it.
template <typename Owner>
Owner made(Owner owner) {
  if (!owner) throw std::bad_alloc();
  return owner;
}

}  // namespace hwid::tool::x509
