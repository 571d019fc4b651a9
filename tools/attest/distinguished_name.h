// A name in a certificate, for messages.
#pragma once

#include <openssl/x509.h>

#include <algorithm>
#include <new>
#include <string>

#include "provider/core/libcrypto.h"

namespace hwid::attest {

// As RFC 2253 writes it, in UTF-8.
inline std::string distinguished_name(const X509_NAME* name) {
  const core::Bio out(BIO_new(BIO_s_mem()));
  if (!out) throw std::bad_alloc();
  X509_NAME_print_ex(out.get(), name, 0,
                     XN_FLAG_RFC2253 & ~static_cast<unsigned long>(ASN1_STRFLGS_ESC_MSB));
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return {text, static_cast<std::size_t>(std::max(size, 0L))};
}

}  // namespace hwid::attest
