// Writing to NV memory so that what was there is not lost.
#pragma once

#include <optional>
#include <set>

#include "provider/core/secret.h"
#include "provider/tpm2/tpm.h"

namespace hwid::tpm2 {

// What is to be written. Borrowed.
struct NvContent {
  core::ByteView data;
  const core::Secret* auth = nullptr;   // the index's new auth value; null: none
  const core::Secret* owner = nullptr;  // of the owner hierarchy
  bool protect = false;                 // NvAuth::protect
};

// What an index holds, as far as it could be put back.
struct NvOld {
  NvPublic nv;
  core::Bytes content;               // empty: nothing was written yet
  bool auth_is_known = false;        // its auth value is:
  std::optional<core::Secret> auth;  // unset: none
};

// TCG's "Registry of Reserved TPM 2.0 Handles and Localities" (2.2.2) leaves it to the owner.
bool is_in_owners_range(TPM2_HANDLE index) noexcept;
// What the registry keeps for certificates of the TPM and of the machine (2.2).
bool is_in_tcgs_range(TPM2_HANDLE index) noexcept;

// The next step where an index is not replaced, for a message.
std::string remove_first_text(TPM2_HANDLE index);

// Reads an index that is to be replaced; what it holds may be secret. `auth`: the value that was
// named for it, which may be its own. Where a wrong one would count against the lockout, it is
// tried, once, only if `may_count`, and if nothing else opens the index or it takes the value to
// put it back. Throws what read_nv throws, kPinWrong with what to do where that value is not its
// own, and kUnsupported for a counter and the like, whose value nobody can write.
NvOld read_replaceable(Tpm& tpm, const Caller& caller, const NvPublic& nv, const core::Secret* auth,
                       const core::Secret* owner, bool protect = false, bool may_count = true);

// At the first index of the owner's range that is free, and not one of `reserved`. `wanted`: all
// but the index. Throws kExists where all are taken, and what Tpm::nv_store throws.
NvPublic store_at_free_index(Tpm& tpm, const Caller& caller, TPMS_NV_PUBLIC wanted,
                             const NvContent& content, const std::set<TPM2_HANDLE>& reserved);

// Puts an index of `wanted` in the place of the old one. The new content stands at a free index
// until it is there, so that at any time one of both is in the TPM; where there is no room for
// both, the old one goes first. What fails puts the old one back; where that fails, too, the
// message says what is lost and where the new one is. Throws kNotPermitted, before anything is
// done, where neither the owner nor a known auth value could write the old one, and what
// Tpm::nv_store and nv_remove do.
void replace_nv(Tpm& tpm, const Caller& caller, const NvOld& old, const TPMS_NV_PUBLIC& wanted,
                const NvContent& content, const std::set<TPM2_HANDLE>& reserved);

}  // namespace hwid::tpm2
