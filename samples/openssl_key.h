#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/store.h>

#include <memory>
#include <stdexcept>
#include <string>

// A private key by URI, with nothing but OpenSSL: what a program needs for a key in hardware. The
// provider comes from openssl.cnf.
namespace sample {

template <auto Free>
struct FreeWith {
  template <typename T>
  void operator()(T* object) const noexcept {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, FreeWith<BIO_free_all>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>>;
using Key = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using SslContext = std::unique_ptr<SSL_CTX, FreeWith<SSL_CTX_free>>;
using Store = std::unique_ptr<OSSL_STORE_CTX, FreeWith<OSSL_STORE_close>>;
using StoreInfo = std::unique_ptr<OSSL_STORE_INFO, FreeWith<OSSL_STORE_INFO_free>>;

// With what OpenSSL, and the provider, say about the reason.
[[noreturn]] inline void fail(const std::string& what) {
  std::string text = what;
  while (const unsigned long error =
             ERR_get_error_all(nullptr, nullptr, nullptr, nullptr, nullptr)) {
    char reason[256];
    ERR_error_string_n(error, reason, sizeof reason);
    text += std::string("\n    ") + reason;
  }
  throw std::runtime_error(text);
}

inline Key private_key(const std::string& uri) {
  const Store store(OSSL_STORE_open(uri.c_str(), nullptr, nullptr, nullptr, nullptr));
  if (!store) fail("cannot open " + uri);
  OSSL_STORE_expect(store.get(), OSSL_STORE_INFO_PKEY);
  while (OSSL_STORE_eof(store.get()) == 0) {
    const StoreInfo info(OSSL_STORE_load(store.get()));
    if (info && OSSL_STORE_INFO_get_type(info.get()) == OSSL_STORE_INFO_PKEY)
      return Key(OSSL_STORE_INFO_get1_PKEY(info.get()));
  }
  fail("there is no private key at " + uri);
}

}  // namespace sample
