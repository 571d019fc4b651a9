// The words of one directive.
#pragma once

#include <p11-kit/pkcs11.h>

#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>

#include "tests/module/plan.h"

namespace hwid::test {

// Taken from left to right. All methods throw std::invalid_argument, naming the directive.
class Words {
 public:
  explicit Words(std::string_view line) : line_(line), stream_(line_) {}

  bool more();
  std::string next();
  std::string rest();  // all that is left
  std::uint64_t number() { return to_number(next()); }
  std::uint64_t to_number(const std::string& word) const;
  CK_RV answer();           // a CKR_ name, or a number
  FunctionSet functions();  // a C_ name, or "*"
  bool on_off();
  std::string hex();  // as bytes; "-": none
  // Takes "nth=3", "times=1", "after" and "attribute=0x120" while there are such words.
  void options(Rule& rule);
  [[noreturn]] void fail(const std::string& why) const;

 private:
  std::string line_;
  std::istringstream stream_;
};

}  // namespace hwid::test
