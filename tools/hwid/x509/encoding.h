// Requests, certificates and CRLs as PEM or DER, read through one library context.
#pragma once

#include <string>
#include <vector>

#include "tools/hwid/x509/owners.h"

namespace hwid::tool::x509 {

// `file` names `content` in messages. PEM (what stands around it is ignored) or DER. Throw
// core::Error (kBadParameter): what it is instead, and what to give.
Request parse_request(const std::string& content, const std::string& file, OSSL_LIB_CTX* crypto);
std::vector<Certificate> parse_certificates(const std::string& content, const std::string& file,
                                            OSSL_LIB_CTX* crypto);  // at least one
std::vector<Crl> parse_crls(const std::string& content, const std::string& file,
                            OSSL_LIB_CTX* crypto);  // at least one

std::string pem(const X509_REQ* request);
std::string pem(const X509* certificate);
std::string pem(const X509_CRL* crl);
std::string der(const X509* certificate);

}  // namespace hwid::tool::x509
