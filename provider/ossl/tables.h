// Every operation that the provider offers, in one file: tables.cpp.
#pragma once

#include <openssl/core_dispatch.h>

#include <span>

namespace hwid::ossl {

// The generator that OpenSSL takes for its own random numbers.
inline constexpr char kDefaultRandom[] = "CTR-DRBG";

struct AlgorithmRow {
  const char* names;
  const char* properties;  // besides provider= and hwid.keys=yes; nullptr for none
  const OSSL_DISPATCH* functions;
  const char* description;
  // Of which OpenSSL (OpenSSL_version_num) the row is: from the first to before the second.
  unsigned long since = 0;
  unsigned long before = ~0UL;
};

struct OperationRows {
  int operation;
  std::span<const AlgorithmRow> rows;
};

std::span<const OperationRows> operation_rows() noexcept;
const OSSL_DISPATCH* provider_functions() noexcept;

}  // namespace hwid::ossl
