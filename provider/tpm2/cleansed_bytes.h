// Bytes that may be somebody's secret, in ordinary memory.
#pragma once

#include <openssl/crypto.h>

#include "provider/core/bytes.h"

namespace hwid::tpm2 {

// Wipes them at the end of its scope. Borrows.
class CleansedAtEnd {
 public:
  explicit CleansedAtEnd(core::Bytes& bytes) noexcept : bytes_(bytes) {}
  ~CleansedAtEnd() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }
  CleansedAtEnd(const CleansedAtEnd&) = delete;
  CleansedAtEnd& operator=(const CleansedAtEnd&) = delete;

 private:
  core::Bytes& bytes_;
};

}  // namespace hwid::tpm2
