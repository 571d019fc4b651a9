// A token of its own with many objects on it, for child processes.
#pragma once

#include <string>

#include "tests/fixture/openssl_conf.h"
#include "tests/fixture/softhsm.h"

namespace hwid::bench {

// Objects on a token that holds two key pairs and nothing else.
inline constexpr int kFewObjects = 4;
// On one that holds many others beside them.
int many_objects(bool quick);

// The pairs "rsa" and "ec", and fillers until there are `objects`. Throws std::runtime_error.
class FilledToken {
 public:
  explicit FilledToken(int objects);
  const test::SoftHsmToken& token() const noexcept { return token_; }
  // openssl.cnf with hwid, the token behind `module` (SoftHSM if empty).
  std::string conf_file(const std::string& module = {}) const;

 private:
  test::SoftHsmToken token_{"bench"};
};

}  // namespace hwid::bench
