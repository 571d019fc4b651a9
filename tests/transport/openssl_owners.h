// Owners of OpenSSL's objects, for fixtures that make certificates and what belongs to them.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>

namespace hwid::test {

template <auto Free>
struct Delete {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Pkey = std::unique_ptr<EVP_PKEY, Delete<EVP_PKEY_free>>;
using Cert = std::unique_ptr<X509, Delete<X509_free>>;
using Name = std::unique_ptr<X509_NAME, Delete<X509_NAME_free>>;
using Bio = std::unique_ptr<BIO, Delete<BIO_free_all>>;

}  // namespace hwid::test
