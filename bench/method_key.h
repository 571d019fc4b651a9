// A private key on a token as an OpenSSL key with nothing in between: what a TLS handshake could
// cost at best.
#pragma once

#include <string>

#include "bench/cryptoki.h"
#include "tests/fixture/library_context.h"

namespace hwid::bench {

// RSA and EC methods of OpenSSL's old kind (which work from 1.1 up to 3.x) whose private operation
// is C_SignInit and C_Sign on a session that no other thread has. RSA is CKM_RSA_PKCS, and for PSS
// CKM_RSA_X_509. `public_key` is the key's other half; the token must outlive the key. Throws
// std::runtime_error.
test::EvpPkey method_key(const Token& token, const std::string& label, EVP_PKEY* public_key);

}  // namespace hwid::bench
