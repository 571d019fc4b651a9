#include <doctest/doctest.h>

#include <algorithm>
#include <string_view>

#include "provider/pkcs11/quirks.h"

namespace {

template <std::size_t N>
void fill(CK_UTF8CHAR (&field)[N], std::string_view text) {
  std::ranges::fill(field, ' ');
  std::ranges::copy(text, field);
}

bool copies_keys(std::string_view manufacturer, std::string_view model) {
  CK_TOKEN_INFO info{};
  fill(info.manufacturerID, manufacturer);
  fill(info.model, model);
  return hwid::pkcs11::quirks_of(info).copy_keys;
}

}  // namespace

TEST_CASE("pkcs11 quirks: keys are copied on SoftHSM, and on nothing that may be hardware") {
  CHECK(copies_keys("SoftHSM project", "SoftHSM v2"));
  CHECK_FALSE(copies_keys("SoftHSM project", "another"));
  CHECK_FALSE(copies_keys("Yubico (www.yubico.com)", "YubiKey YK5"));
  CHECK_FALSE(copies_keys("", ""));
  CHECK_FALSE(copies_keys("A SoftHSM project", "SoftHSM v2"));
}
