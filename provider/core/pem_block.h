// One block of a PEM file, whatever it is of.
#pragma once

#include <openssl/crypto.h>
#include <openssl/pem.h>

#include <string_view>

#include "provider/core/bytes.h"

namespace hwid::core {

// What it holds may be a key: it is cleansed.
struct PemBlock {
  PemBlock() = default;
  ~PemBlock() {
    OPENSSL_free(label);
    OPENSSL_free(header);
    OPENSSL_clear_free(data, static_cast<std::size_t>(size));
  }
  PemBlock(const PemBlock&) = delete;
  PemBlock& operator=(const PemBlock&) = delete;

  // The next block of `in`, once for each object. False: there is none, or it is damaged; OpenSSL's
  // queue says which (PEM_R_NO_START_LINE).
  bool read(BIO* in) { return PEM_read_bio(in, &label, &header, &data, &size) == 1; }

  ByteView bytes() const noexcept { return {data, static_cast<std::size_t>(size)}; }
  bool is_certificate() const noexcept {
    const std::string_view text = label;
    return text == PEM_STRING_X509 || text == PEM_STRING_X509_OLD ||
           text == PEM_STRING_X509_TRUSTED;
  }
  // "Proc-Type: 4,ENCRYPTED": the bytes are nothing without a passphrase.
  bool is_encrypted() const noexcept { return header != nullptr && *header != '\0'; }

  char* label = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
};

}  // namespace hwid::core
