#pragma once

#include <openssl/x509.h>

#include <memory>
#include <string>

namespace hwid::stand_in {

using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

// Who signs the certificates of a stand-in cloud: a CA of the test's, whose files are there.
class Authority {
 public:
  Authority(const std::string& certificate_file, const std::string& key_file);

  // Signs what a request asks for: its subject and key, for a year. Throws std::runtime_error that
  // says which rule the request breaks: it is PEM, it is signed by its own key (proof of
  // possession), the key is RSA from 2048 bits on, or EC P-256, P-384 or P-521.
  Certificate sign(const std::string& csr) const;

 private:
  Certificate certificate_;
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
};

std::string pem_of(X509* certificate);
std::string fingerprint_of(const X509* certificate);  // SHA-256, hexadecimal

}  // namespace hwid::stand_in
