// The public half of a key, as a value.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "provider/core/bytes.h"
#include "provider/core/libcrypto.h"

namespace hwid::core {

enum class Algorithm { kRsa, kRsaPss, kEc, kEd25519, kEd448, kX25519, kX448 };
// OpenSSL's name: "RSA", "RSA-PSS", "EC", "ED25519", "ED448", "X25519", "X448".
constexpr const char* algorithm_name(Algorithm algorithm) noexcept {
  switch (algorithm) {
    case Algorithm::kRsa:
      return "RSA";
    case Algorithm::kRsaPss:
      return "RSA-PSS";
    case Algorithm::kEc:
      return "EC";
    case Algorithm::kEd25519:
      return "ED25519";
    case Algorithm::kEd448:
      return "ED448";
    case Algorithm::kX25519:
      return "X25519";
    case Algorithm::kX448:
      return "X448";
  }
  return "unknown";
}

constexpr bool is_rsa(Algorithm algorithm) noexcept {
  return algorithm == Algorithm::kRsa || algorithm == Algorithm::kRsaPss;
}
// EdDSA (RFC 8032): it signs messages, and nothing else.
constexpr bool is_edwards(Algorithm algorithm) noexcept {
  return algorithm == Algorithm::kEd25519 || algorithm == Algorithm::kEd448;
}
// RFC 7748: it agrees on secrets, and nothing else.
constexpr bool is_montgomery(Algorithm algorithm) noexcept {
  return algorithm == Algorithm::kX25519 || algorithm == Algorithm::kX448;
}

// Immutable, cheap to copy, safe to use from several threads. Backed by a software EVP_PKEY of the
// provider's own context, so every parameter has exactly the form that OpenSSL's own keys have.
class PublicKey {
 public:
  // Big-endian unsigned modulus and exponent (CKA_MODULUS, CKA_PUBLIC_EXPONENT; TPM2B).
  // `pss_digest`: the only one of a PSS key's signatures, also in MGF1, by OpenSSL's name; null:
  // any. Throws kBadParameter when the numbers make no key.
  static PublicKey rsa(const Libcrypto& crypto, ByteView modulus, ByteView exponent,
                       bool pss_only = false, const char* pss_digest = nullptr);
  // `parameters`: DER of ECParameters, a named curve (CKA_EC_PARAMS); those of RFC 8410 also by
  // their names (PKCS#11 v3.0, 2.3.5). `point`: the uncompressed or compressed point itself, of
  // those curves the bytes of RFC 8032 and RFC 7748; a DER OCTET STRING or BIT STRING around it
  // (CKA_EC_POINT) is taken off.
  static PublicKey ec(const Libcrypto& crypto, ByteView parameters, ByteView point);
  static PublicKey from_spki(const Libcrypto& crypto, ByteView der);         // SubjectPublicKeyInfo
  static PublicKey from_certificate(const Libcrypto& crypto, ByteView der);  // X.509

  Algorithm algorithm() const noexcept { return algorithm_; }
  std::size_t bits() const noexcept { return bits_; }
  // Length in bytes of an RSA signature, of half an ECDSA or EdDSA signature, of a shared secret.
  std::size_t field_size() const noexcept { return (bits_ + 7) / 8; }
  EVP_PKEY* pkey() const noexcept { return pkey_.get(); }
  bool operator==(const PublicKey& other) const noexcept;

 private:
  PublicKey(EVP_PKEY* taken, bool pss_only);
  std::shared_ptr<EVP_PKEY> pkey_;
  Algorithm algorithm_;
  std::size_t bits_;
};

}  // namespace hwid::core
