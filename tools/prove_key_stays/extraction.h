// Every way that PKCS#11 knows to get a private key out of a token, tried for real.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/prove_key_stays/token_session.h"

namespace hwid::prove {

struct Attempt {
  std::string call;             // "C_WrapKey CKM_AES_KEY_WRAP"
  std::optional<CK_RV> answer;  // CKR_OK: the key left; nothing: it could not be tried
};

// Reading the key's private attributes, making it or a copy of it extractable, and wrapping it by
// a fresh session key under each mechanism that the token offers for wrapping. Changes nothing on
// a token that refuses; a copy that succeeds is a session object, and destroyed again.
std::vector<Attempt> try_to_extract(const TokenSession& token, CK_OBJECT_HANDLE key);

}  // namespace hwid::prove
