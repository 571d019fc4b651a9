// A private key on a device as an OpenSSL key with nothing in between: what a TLS handshake could
// cost at best.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "bench/cryptoki.h"
#include "tests/fixture/library_context.h"

namespace hwid::bench {

// What the device does. Thread-safe.
class PrivateOperation {
 public:
  enum class Way { kRsaPkcs1, kRsaRaw, kEcdsa };
  virtual ~PrivateOperation() = default;
  // The signature (ECDSA: r and s) of a DigestInfo, a block as long as the modulus, or a digest;
  // how many bytes it has, 0 if it failed.
  virtual std::size_t sign(Way way, std::span<const unsigned char> input,
                           std::span<unsigned char> signature) noexcept = 0;
};

// RSA and EC methods of OpenSSL's old kind (which work from 1.1 up to 3.x) around `operation`;
// PSS is raw RSA. `public_key` is the key's other half. Throws std::runtime_error.
test::EvpPkey method_key(std::unique_ptr<PrivateOperation> operation, EVP_PKEY* public_key);

// With C_SignInit and C_Sign on a session that no other thread has. The token must outlive the key.
test::EvpPkey method_key(const Token& token, const std::string& label, EVP_PKEY* public_key);

}  // namespace hwid::bench
