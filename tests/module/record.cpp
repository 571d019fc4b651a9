#include "tests/module/record.h"

#include <algorithm>

#include "tests/module/directives.h"

namespace hwid::test {

std::size_t Record::begin(Function function) noexcept {
  const std::size_t place = next_.fetch_add(1);
  if (place < kCapacity) calls_[place].function = function;
  return place;
}

void Record::end(std::size_t place, CK_RV rv) noexcept {
  if (place < kCapacity) calls_[place].rv = rv;
}

std::string Record::text() const {
  std::string lines;
  for (std::size_t i = 0; i < std::min(next_.load(), kCapacity); ++i) {
    const Call& call = calls_[i];
    lines += std::string(row_of(call.function).name) + " " + answer_name(call.rv) + "\n";
  }
  return lines;
}

}  // namespace hwid::test
