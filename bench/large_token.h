// A token of its own with many objects on it, for child processes.
#pragma once

#include <string>
#include <vector>

#include "tests/fixture/openssl_conf.h"
#include "tests/fixture/softhsm.h"

namespace hwid::bench {

// Objects on a token that holds two key pairs and nothing else.
inline constexpr int kFewObjects = 4;
// On those that hold others beside them.
std::vector<int> many_objects(bool quick);

// The pairs "rsa" and "ec", and fillers until there are `objects`. Throws std::runtime_error.
class FilledToken {
 public:
  explicit FilledToken(int objects);
  const test::SoftHsmToken& token() const noexcept { return token_; }
  int objects() const noexcept { return objects_; }
  // openssl.cnf with hwid, the token behind `module` (SoftHSM if empty).
  std::string conf_file(const std::string& module = {}) const;

 private:
  const int objects_;
  test::SoftHsmToken token_{"bench"};
};

}  // namespace hwid::bench
