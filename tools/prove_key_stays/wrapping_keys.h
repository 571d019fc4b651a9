// Fresh keys in a session, to wrap others with.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tools/prove_key_stays/extraction.h"

namespace hwid::prove {

enum class WrappingKey { kAes, kDes, kDes2, kDes3, kCamellia, kAria, kSeed, kRc2, kCast128, kRsa };

// Makes each kind once, when it is first wanted, and destroys all in the end. One thread.
class WrappingKeys {
 public:
  explicit WrappingKeys(const TokenAccess& token) : token_(token) {}
  ~WrappingKeys();
  WrappingKeys(const WrappingKeys&) = delete;
  WrappingKeys& operator=(const WrappingKeys&) = delete;

  struct Made {
    CK_RV rv = CKR_OK;  // why there is none
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
  };
  Made get(WrappingKey kind);

 private:
  Made make_secret(WrappingKey kind);
  Made make_pair();
  Made keep(CK_RV rv, CK_OBJECT_HANDLE key);

  const TokenAccess& token_;
  std::map<WrappingKey, Made> made_;
  std::vector<CK_OBJECT_HANDLE> objects_;  // all that must go
};

}  // namespace hwid::prove
