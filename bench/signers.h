// Ways to make a signature, as contenders. Each is checked with the public key, in software,
// before it is measured.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/cryptoki.h"
#include "bench/rounds.h"
#include "tests/fixture/library_context.h"

namespace hwid::bench {

inline constexpr int kMostThreads = 8;

// A key and how it is found: by hwid in one library context, by its label on the raw token, and
// one of the same kind in software.
struct SigningKeys {
  OSSL_LIB_CTX* hwid_context;
  EVP_PKEY* hwid;
  const Token& token;
  std::string label;
  OSSL_LIB_CTX* software_context;
  EVP_PKEY* software;
};

// "hwid", "software": EVP_DigestSign. What is given must outlive the contender. Throw
// std::runtime_error if a first signature does not verify.
Contender evp_signer(std::string name, OSSL_LIB_CTX* context, EVP_PKEY* key, Scheme scheme);
// "raw", "raw_copy": C_SignInit and C_Sign on a session that each thread holds. `public_key` only
// checks. `with_copy`: with a session copy of the key.
Contender raw_signer(std::string name, const Token& token, const std::string& label,
                     EVP_PKEY* public_key, Scheme scheme, bool with_copy);

// Checks a signature over the message that signers sign; `r_and_s`: ECDSA as PKCS#11 has it.
void require_good(EVP_PKEY* public_key, Scheme scheme, const std::string& signature, bool r_and_s);
// Of that message.
std::string digest_to_sign();
const std::string& message_to_sign();

}  // namespace hwid::bench
