#include "provider/pkcs11/quirks.h"

#include <string_view>

#include "provider/pkcs11/module.h"

namespace hwid::pkcs11 {

namespace {

struct Row {
  std::string_view manufacturer;  // CK_TOKEN_INFO.manufacturerID begins with it
  std::string_view model;         // CK_TOKEN_INFO.model, likewise
  Quirks quirks;
};

constexpr Row kRows[] = {
    // Decrypts the private key's attributes anew for each signature, those of a session object not:
    // an EC signature costs three quarters. A copy stays sensitive and unextractable, and serves
    // all sessions at once.
    // It writes a token's file at each login that fails, or succeeds after one, and another process
    // reads what is there of it.
    {"SoftHSM", "SoftHSM v2", {.copy_keys = true, .has_serial_later = true}},
};

}  // namespace

Quirks quirks_of(const CK_TOKEN_INFO& info) noexcept {
  const auto begins = [](const auto& field, std::string_view text) {
    return std::string_view(reinterpret_cast<const char*>(field), sizeof field).starts_with(text);
  };
  for (const Row& row : kRows) {
    if (begins(info.manufacturerID, row.manufacturer) && begins(info.model, row.model))
      return row.quirks;
  }
  return {};
}

}  // namespace hwid::pkcs11
