// A token, opened without the provider: what is proved must not rest on the code that is judged.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "provider/core/secret.h"
#include "provider/pkcs11/errors.h"

namespace hwid::prove {

// One logged-in read/write session on the token of that label. One thread. Throws core::Error.
class TokenSession {
 public:
  TokenSession(const std::string& module_path, const std::string& token_label,
               const std::string& pin_file);
  ~TokenSession();
  TokenSession(const TokenSession&) = delete;
  TokenSession& operator=(const TokenSession&) = delete;

  CK_FUNCTION_LIST* operator->() const noexcept { return functions_; }
  CK_SESSION_HANDLE session() const noexcept { return session_; }
  CK_SLOT_ID slot() const noexcept { return slot_; }
  pkcs11::Place place(const std::string& object) const { return {token_, object, {}}; }

  // The only private key of that label.
  CK_OBJECT_HANDLE private_key(const std::string& label) const;
  CK_KEY_TYPE key_type(CK_OBJECT_HANDLE key) const;

  // The value of an attribute, or the answer that refused it (CKR_OK never has an empty value:
  // a token that gives nothing gave nothing away).
  std::pair<CK_RV, core::Secret> attribute(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) const;

  // An RSA key pair that may leave the token: the twin of a key that may not.
  void generate_twin(const std::string& label) const;

 private:
  void find_slot();

  const std::string token_;
  CK_FUNCTION_LIST* functions_ = nullptr;
  CK_SLOT_ID slot_ = 0;
  CK_SESSION_HANDLE session_ = CK_INVALID_HANDLE;
};

// Attributes that would give the key away.
struct PrivateAttribute {
  CK_ATTRIBUTE_TYPE type;
  const char* name;
};
std::vector<PrivateAttribute> private_attributes(CK_KEY_TYPE type);

}  // namespace hwid::prove
