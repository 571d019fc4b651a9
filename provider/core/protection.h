// What a device says of how well it keeps a private key.
#pragma once

#include <optional>

namespace hwid::core {

// Each unset where the device does not say. Plain values: copied, shared by nobody.
struct Protection {
  // PKCS#11: CKA_SENSITIVE and so on.
  std::optional<bool> sensitive;
  std::optional<bool> extractable;
  std::optional<bool> always_sensitive;
  std::optional<bool> never_extractable;
  std::optional<bool> local;  // made on the token
  std::optional<bool> always_authenticate;

  // TPM: fixedTPM and so on.
  std::optional<bool> fixed_tpm;
  std::optional<bool> fixed_parent;
  std::optional<bool> sensitive_data_origin;  // made in the TPM
  std::optional<bool> restricted;

  // Whether the private half can leave the device, in clear or wrapped: a TPM key that is not
  // fixedTPM, a PKCS#11 key that is extractable or not sensitive. Unset: the device does not say.
  // (A key with both fixedTPM and CKA_ attributes counts by fixedTPM.)
  std::optional<bool> exportable() const noexcept {
    if (fixed_tpm) return !*fixed_tpm;
    if (extractable.value_or(false) || !sensitive.value_or(true)) return true;
    return extractable && sensitive ? std::optional(false) : std::nullopt;
  }
};

}  // namespace hwid::core
