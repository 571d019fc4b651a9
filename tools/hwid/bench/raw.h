// The fastest that a device signs: its own calls, and nothing else.
#pragma once

#include "provider/core/key.h"
#include "provider/pkcs11/key.h"
#include "provider/tpm2/key.h"
#include "tools/hwid/bench/measure.h"

namespace hwid::tool::bench {

// What is signed, and how. `digest`: of `message`, by the scheme; of EdDSA unused.
struct Task {
  core::SignScheme scheme;
  core::Bytes message;
  core::Bytes digest;
};

// C_SignInit and C_Sign on a session that the thread keeps, with the object that hwid signs with: a
// copy in the session where the token is faster with one. Throws TokenError where the token does
// not do it so (CKA_ALWAYS_AUTHENTICATE, mechanisms that hash).
void sign_raw(const core::Libcrypto& crypto, const pkcs11::Key& key, const Task& task, Run& run);
// TPM2_Sign, or TPM2_RSA_Decrypt of what is padded already, with the connection kept. Other threads
// wait meanwhile: a TPM does one thing at a time. Throws core::Error for a restricted key.
void sign_raw(const core::Libcrypto& crypto, const tpm2::Key& key, const Task& task, Run& run);

}  // namespace hwid::tool::bench
