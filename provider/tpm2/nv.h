// Reading an NV index as it says that it may be read.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "provider/core/secret.h"
#include "provider/tpm2/tpm.h"

namespace hwid::tpm2 {

// What may open an index. All may be empty.
struct NvSecrets {
  std::optional<core::Secret> value;  // its auth value, given for this index
  // The auth value that the section has for all; asked where it is needed, and tried only where a
  // wrong one does not count. Null: it has none.
  std::function<std::optional<core::Secret>()> configured;
  std::optional<core::Secret> owner;        // of the owner hierarchy
  std::shared_ptr<const KeyPolicy> policy;  // that was named for this index
  bool protect = false;                     // NvAuth::protect
  // Nothing is tried that would count against the lockout if it were wrong: for listings.
  bool only_harmless = false;
};

inline const core::Secret* borrowed(const std::optional<core::Secret>& secret) noexcept {
  return secret ? &*secret : nullptr;
}

// What the index holds. In this order, of what its attributes allow: the policy; the value; without
// a value, where that cannot count against the lockout; the owner, whose auth value is given or who
// has none; the configured value; without a value. Each value is tried once. Commands:
// Tpm::nv_read, and one to learn whether the owner has a value. Throws kNoObject where nothing was
// written yet, kUnsupported for a counter and the like, kNotPermitted where it is locked, or
// nothing that is known opens it, and what the use of a key throws.
core::Bytes read_nv(Tpm& tpm, const Caller& caller, const NvPublic& nv, const NvSecrets& secrets);

// The same of an index that everybody may read, as those that TPM makers write are (TCG's "EK
// Credential Profile", 2.2.1.4). nullopt where there is no such index, or nothing in it.
std::optional<core::Bytes> read_public_nv(Tpm& tpm, const Caller& caller, TPM2_HANDLE index);

TPM2_NT nv_type(const TPMS_NV_PUBLIC& area) noexcept;
// "NV data of 32 bytes", "NV counter".
std::string nv_kind_text(const TPMS_NV_PUBLIC& area);

}  // namespace hwid::tpm2
