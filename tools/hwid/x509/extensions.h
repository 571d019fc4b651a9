// The extensions of what is made here: requests, certificates of devices and servers, and a CA's
// own (RFC 5280, section 4.2; what X509_V_FLAG_X509_STRICT, Python 3.13's default, wants).
#pragma once

#include <string>
#include <utility>

#include "tools/hwid/x509/owners.h"

namespace hwid::tool::x509 {

enum class Usage { kClient, kServer, kBoth };
Usage parse_usage(const std::string& option, const std::string& text);  // throws UsageError
const char* usage_text(Usage usage) noexcept;

// A list that is copied into a request or certificate. All methods throw core::Error (kLibcrypto).
class Extensions {
 public:
  Extensions() = default;
  ~Extensions();
  Extensions(Extensions&& other) noexcept : list_(std::exchange(other.list_, nullptr)) {}
  Extensions(const Extensions&) = delete;
  Extensions& operator=(const Extensions&) = delete;

  void add_ca();          // critical: CA:TRUE, pathlen 0; keyCertSign, cRLSign
  void add_end_entity();  // critical: CA:FALSE
  // Critical key usage, by the kind of key (RSA key transport for servers only), and extended.
  void add_usage(EVP_PKEY* key, Usage usage);
  // Of a TPM's attestation key: critical key usage; TCG's purpose for it, critical as well, so that
  // nobody takes it for another (2.23.133.8.3).
  void add_attestation_usage();
  // Any extension, not critical: `value` is its DER.
  void add_other(const char* oid, const std::string& value);
  void add_alt_names(const GENERAL_NAMES* names, bool critical);
  // RFC 7093, method 1: 160 bits of SHA-256 over the public key.
  void add_subject_key_id(const X509* certificate, OSSL_LIB_CTX* crypto);
  void add_authority_key_id(const ASN1_OCTET_STRING* issuers_key_id);
  void add_crl_number(ASN1_INTEGER* number);
  void add_copy(const X509_EXTENSION* extension);  // as it stands in another object

  // The DER value of the first one of that kind; empty: there is none.
  std::string value_of(int nid) const;
  bool empty() const noexcept { return list_ == nullptr; }
  void copy_into(X509_REQ* request) const;
  void copy_into(X509* certificate) const;
  void copy_into(X509_CRL* crl) const;

 private:
  void add(int nid, void* value, bool critical);

  STACK_OF(X509_EXTENSION) * list_ = nullptr;
};

// The key identifier that `certificate` says it has, else the one that add_subject_key_id makes.
OctetString key_id(const X509* certificate, OSSL_LIB_CTX* crypto);

}  // namespace hwid::tool::x509
