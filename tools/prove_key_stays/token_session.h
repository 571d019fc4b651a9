// A token, opened without the provider: what is proved must not rest on the code that is judged.
#pragma once

#include <string>
#include <vector>

#include "tools/prove_key_stays/extraction.h"

namespace hwid::prove {

// One logged-in read/write session on the token of that label. One thread. Throws core::Error.
class TokenSession {
 public:
  TokenSession(const std::string& module_path, const std::string& token_label,
               const std::string& pin_file);
  ~TokenSession();
  TokenSession(const TokenSession&) = delete;
  TokenSession& operator=(const TokenSession&) = delete;

  pkcs11::Place place(const std::string& object) const { return {token_, object, {}}; }

  // The only private key of that label.
  CK_OBJECT_HANDLE private_key(const std::string& label) const;
  // For the key of that label.
  TokenAccess access(const std::string& label) const {
    return {functions_, session_, slot_, place(label)};
  }

  // An RSA key pair that may leave the token: the twin of a key that may not.
  void generate_twin(const std::string& label) const;

 private:
  void find_slot();

  const std::string token_;
  CK_FUNCTION_LIST* functions_ = nullptr;
  CK_SLOT_ID slot_ = 0;
  CK_SESSION_HANDLE session_ = CK_INVALID_HANDLE;
};

}  // namespace hwid::prove
