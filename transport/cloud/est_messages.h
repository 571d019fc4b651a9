#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "transport/openssl_handles.h"

// What EST (RFC 7030, with the clarifications of RFC 8951) sends and answers, as bytes. The answers
// come from a server that may be hostile: each is bounded, and taken whole or not at all.
namespace hwid::transport::est {

// An answer that is not what it should be. what(): why, for "the answer is wrong: ...".
struct Garbage : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// RFC 8951, section 3.1: every body is base64, and no header says so. With line ends and blanks, or
// without. Throws Garbage: of characters, length or padding, or
// where there is nothing.
std::string from_base64(std::string_view text);

// The certificates of a base64 "certs-only" answer (RFC 7030, section 4.1.3 and 4.2.3; RFC 5751,
// section 3.2.2): PKCS#7 SignedData that nobody has signed. At least one, at most 64. Throws
// Garbage.
std::vector<X509Ptr> certificates_in(const std::string& body);

// What the server wants of a request (RFC 7030, section 4.5.2).
struct CsrAttributes {
  bool challenge_password = false;  // the request is to be tied to the TLS connection: section 3.5
  std::string key_type;             // "RSA" or "EC"; empty: it does not say
  int rsa_bits = 0;                 // 0: it does not say
  std::string group;                // OpenSSL's short name: "prime256v1"; empty: it does not say
  std::string digest;               // of the signature: "SHA256"; empty: it does not say
  std::vector<std::string> extensions;  // that are wanted: OpenSSL's short names, or digits
  std::vector<std::string> others;      // what we do not know: the same
};
// Throws Garbage.
CsrAttributes csr_attributes_in(const std::string& body);

}  // namespace hwid::transport::est
