#include "provider/tpm2/nv_store.h"

#include <algorithm>

#include "provider/tpm2/nv.h"

namespace hwid::tpm2 {

using core::Error;
using core::Reason;
using core::Secret;

namespace {

constexpr TPM2_HANDLE kFirst = 0x01800000;
constexpr TPM2_HANDLE kLast = 0x01bfffff;

bool has(const NvPublic& nv, TPMA_NV attributes) noexcept {
  return (nv.area.attributes & attributes) == attributes;
}

// By its own value, or without one.
void read_by_value(Tpm& tpm, const Caller& caller, const Secret* auth, bool protect, NvOld& old) {
  old.content = tpm.nv_read(caller, old.nv, {NvAuth::By::kIndex, auth, protect});
  old.auth_is_known = true;
  if (auth != nullptr) old.auth = auth->clone();
}

// False where that does not open it.
bool opens_by_value(Tpm& tpm, const Caller& caller, const Secret* auth, bool protect, NvOld& old) {
  try {
    read_by_value(tpm, caller, auth, protect, old);
    return true;
  } catch (const Error& error) {
    if (error.reason != Reason::kPinWrong && error.reason != Reason::kPinMissing) throw;
    return false;
  }
}

// By the value that was named for it, which counts if it is wrong.
void read_by_named(Tpm& tpm, const Caller& caller, const Secret& auth, bool protect, NvOld& old) {
  try {
    read_by_value(tpm, caller, &auth, protect, old);
  } catch (const Error& error) {
    if (error.reason != Reason::kPinWrong) throw;
    throw Error(error.reason, error.code,
                error.what() +
                    std::string("; to replace what is there, name the auth value that "
                                "the NV index has now") +
                    remove_first_text(old.nv.area.nvIndex),
                error.where);
  }
}

// Put back by its holder, as the owner may not.
bool is_written_by_value(const NvPublic& nv) noexcept {
  return !has(nv, TPMA_NV_OWNERWRITE) && has(nv, TPMA_NV_AUTHWRITE);
}

bool could_be_put_back(const NvOld& old) noexcept {
  return !has(old.nv, TPMA_NV_WRITTEN) || has(old.nv, TPMA_NV_OWNERWRITE) ||
         (is_written_by_value(old.nv) && old.auth_is_known);
}

// The old content, the new one, and what became of them.
class Replacement {
 public:
  Replacement(Tpm& tpm, const Caller& caller, const NvOld& old, const TPMS_NV_PUBLIC& wanted,
              const NvContent& content)
      : tpm_(tpm), caller_(caller), old_(old), wanted_(wanted), content_(content) {}

  void run(const std::set<TPM2_HANDLE>& reserved) {
    stage(reserved);
    try {
      tpm_.nv_remove(caller_, old_.nv, content_.owner, content_.protect);
      tpm_.nv_store(caller_, wanted_, content_.data, content_.auth, content_.owner,
                    content_.protect);
    } catch (const Error& error) {
      fail(error);
    }
    drop_stage();
  }

 private:
  void stage(const std::set<TPM2_HANDLE>& reserved) {
    try {
      staged_ = store_at_free_index(tpm_, caller_, wanted_, content_, reserved);
    } catch (const TpmError& error) {
      if (base_code(error.rc) != TPM2_RC_NV_SPACE) throw;
      HWID_LOG(caller_.log, kWarn,
               hex(wanted_.nvIndex) +
                   ": the TPM has no room for both, so the old content goes "
                   "before the new one is there: " +
                   error.what());
    }
  }

  [[noreturn]] void fail(const Error& error) {
    try {
      put_back();
    } catch (const Error& left) {
      HWID_LOG(caller_.log, kError, hex(wanted_.nvIndex) + ": " + left.what());
      throw Error(error.reason, error.code, error.what() + after_loss(), error.where);
    }
    drop_stage();
    throw Error(error.reason, error.code, error.what(), error.where);
  }

  std::string after_loss() const {
    const std::string index = hex(wanted_.nvIndex);
    return " (what was at " + index + " may be lost: it could not be put back" +
           (staged_ ? "; the new content is at " + hex(staged_->area.nvIndex) : "") + ")";
  }

  void put_back() {
    if (is_untouched()) return;
    constexpr TPMA_NV kStates = TPMA_NV_WRITTEN | TPMA_NV_READLOCKED | TPMA_NV_WRITELOCKED;
    constexpr TPMA_NV kOwners = TPMA_NV_OWNERREAD | TPMA_NV_OWNERWRITE;
    TPMS_NV_PUBLIC area = old_.nv.area;
    area.attributes &= ~kStates;
    // A value that is not known comes back empty: then it must open nothing.
    if (!old_.auth_is_known && has(old_.nv, kOwners))
      area.attributes &= ~(TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE);
    tpm_.nv_store(caller_, area, old_.content, old_.auth ? &*old_.auth : nullptr, content_.owner,
                  content_.protect);
  }

  bool is_untouched() {
    try {
      return tpm_.nv_public(caller_, wanted_.nvIndex).name == old_.nv.name;
    } catch (const Error& error) {
      if (error.reason != Reason::kNoObject) throw;
      return false;
    }
  }

  // What stays behind is said, and harms nobody.
  void drop_stage() {
    if (!staged_) return;
    try {
      tpm_.nv_remove(caller_, *staged_, content_.owner, content_.protect);
    } catch (const Error& error) {
      HWID_LOG(caller_.log, kWarn,
               hex(staged_->area.nvIndex) +
                   ": a copy of the new content is left behind: " + error.what());
    }
  }

  Tpm& tpm_;
  const Caller& caller_;
  const NvOld& old_;
  const TPMS_NV_PUBLIC& wanted_;
  const NvContent& content_;
  std::optional<NvPublic> staged_;
};

}  // namespace

std::string remove_first_text(TPM2_HANDLE index) {
  return "; if it is not needed, remove it first: hwid delete 'tpm2:nv=" + hex(index) +
         "' (with --other where it is no certificate)";
}

bool is_in_owners_range(TPM2_HANDLE index) noexcept { return index >= kFirst && index <= kLast; }

bool is_in_tcgs_range(TPM2_HANDLE index) noexcept { return index >> 16 == 0x01c0; }

NvOld read_replaceable(Tpm& tpm, const Caller& caller, const NvPublic& nv, const Secret* auth,
                       const Secret* owner, bool protect, bool may_count) {
  NvOld old{nv, {}, false, {}};
  if (nv_type(nv.area) != TPM2_NT_ORDINARY)
    throw Error(Reason::kUnsupported,
                "TPM2_NV_Read:" + place_text(tpm.place(hex(nv.area.nvIndex))) + ": " +
                    nv_kind_text(nv.area) + ": its value cannot be written back");
  if (!has(nv, TPMA_NV_WRITTEN)) return old;
  if (has(nv, TPMA_NV_AUTHREAD | TPMA_NV_NO_DA)) {
    if (has_value(auth) && opens_by_value(tpm, caller, auth, protect, old)) return old;
    if (opens_by_value(tpm, caller, nullptr, protect, old)) return old;
  }
  NvSecrets secrets;
  secrets.only_harmless = true;
  secrets.protect = protect;
  if (owner != nullptr) secrets.owner = owner->clone();
  const bool is_of_use = has(nv, TPMA_NV_OWNERWRITE) || is_written_by_value(nv);
  const bool counts = may_count && is_of_use && has(nv, TPMA_NV_AUTHREAD) &&
                      !has(nv, TPMA_NV_NO_DA) && has_value(auth);
  if (counts && is_written_by_value(nv)) {
    read_by_named(tpm, caller, *auth, protect, old);
    return old;
  }
  try {
    old.content = read_nv(tpm, caller, nv, secrets);
  } catch (const Error& error) {
    if (!counts || error.reason != Reason::kPinMissing) throw;
    read_by_named(tpm, caller, *auth, protect, old);
  }
  return old;
}

NvPublic store_at_free_index(Tpm& tpm, const Caller& caller, TPMS_NV_PUBLIC wanted,
                             const NvContent& content, const std::set<TPM2_HANDLE>& reserved) {
  std::set<TPM2_HANDLE> taken = reserved;
  for (const TPM2_HANDLE index : tpm.handles(caller, kFirst)) taken.insert(index);
  for (wanted.nvIndex = kFirst + 1; wanted.nvIndex <= kLast; ++wanted.nvIndex) {
    if (taken.contains(wanted.nvIndex)) continue;
    try {
      return tpm.nv_store(caller, wanted, content.data, content.auth, content.owner,
                          content.protect);
    } catch (const Error& error) {  // somebody else took it meanwhile
      if (error.reason != Reason::kExists) throw;
    }
  }
  throw Error(Reason::kExists, "TPM2_GetCapability:" + place_text(tpm.place()) +
                                   ": every NV index from " + hex(kFirst + 1) + " to " +
                                   hex(kLast) + " is taken; remove one that is not needed");
}

void replace_nv(Tpm& tpm, const Caller& caller, const NvOld& old, const TPMS_NV_PUBLIC& wanted,
                const NvContent& content, const std::set<TPM2_HANDLE>& reserved) {
  if (!could_be_put_back(old))
    throw Error(
        Reason::kNotPermitted,
        "TPM2_NV_UndefineSpace:" + place_text(tpm.place(hex(wanted.nvIndex))) +
            ": neither the owner nor an auth value that reads it, too, may write what is there, "
            "so it could not be put back" +
            remove_first_text(wanted.nvIndex));
  Replacement(tpm, caller, old, wanted, content).run(reserved);
}

}  // namespace hwid::tpm2
