#include "provider/pkcs11/quirks.h"

#include <string_view>

#include "provider/pkcs11/module.h"

namespace hwid::pkcs11 {

namespace {

struct ModuleRow {
  std::string_view file;  // the file's name begins with it
  ModuleQuirks quirks;
};

constexpr ModuleRow kModuleRows[] = {
    // p11-kit's client (0.24) leaves threads that wait for an answer waiting for ever where another
    // one finds the connection broken. Its server answers one call at a time anyway.
    {"p11-kit-client", {.one_at_a_time = true}},
    // tpm2-pkcs11 (1.9) believes in a child that it is initialized, and goes on with its parent's
    // HMAC session: of the nonces that parent and child roll one is wrong each time, which the TPM
    // takes for a wrong auth value, until it locks itself.
    {"libtpm2_pkcs11", {.survives_no_fork = true}},
};

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

ModuleQuirks module_quirks_of(std::string_view path) noexcept {
  const std::string_view file = path.substr(path.rfind('/') + 1);
  for (const ModuleRow& row : kModuleRows) {
    if (file.starts_with(row.file)) return row.quirks;
  }
  return {};
}

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
