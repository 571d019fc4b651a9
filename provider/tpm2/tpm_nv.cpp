// NV memory: tpm.h.
#include <algorithm>

#include "provider/tpm2/tpm.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::Reason;
using core::Secret;

NvPublic Tpm::nv_public(const Caller& caller, TPM2_HANDLE index) {
  NvPublic nv;
  with_connection(caller, hex(index), [&](Work& work) {
    try {
      nv = work.commands.nv_read_public(index);
    } catch (const TpmError& error) {
      if (base_code(error.rc) != TPM2_RC_HANDLE) throw;
      raise(Reason::kNoObject, error.rc, error.call, work.commands.place(),
            "there is no such NV index in the TPM; list what is there: tpm2_getcap "
            "handles-nv-index",
            error.where);
    }
  });
  return nv;
}

std::size_t Tpm::nv_buffer_size(const Caller& caller) {
  if (const std::size_t known = nv_buffer_size_.load(std::memory_order_relaxed)) return known;
  std::size_t size = 0;
  with_connection(caller, {}, [&](Work& work) { size = work.commands.nv_buffer_size(); });
  nv_buffer_size_.store(size, std::memory_order_relaxed);
  return size;
}

bool Tpm::owner_has_value(const Caller& caller) {
  bool has = false;
  with_connection(caller, {}, [&](Work& work) { has = work.commands.owner_has_value(); });
  return has;
}

void Tpm::raise_nv_changed(const TpmError& error, const Place& place) {
  raise(Reason::kKeyChanged, error.rc, "TPM2_NV_ReadPublic", place,
        "the NV index was written or defined anew meanwhile; try again", error.where);
}

// A session authenticates the index's name, too: a stale one looks like a wrong auth value of
// whoever's.
void Tpm::check_nv_unchanged(Work& work, const TpmError& error, const NvPublic& nv) {
  const TSS2_RC code = base_code(error.rc);
  if (code != TPM2_RC_AUTH_FAIL && code != TPM2_RC_BAD_AUTH) return;
  Bytes now;
  try {
    now = work.commands.nv_read_public(nv.area.nvIndex).name;
  } catch (const TpmError&) {
    throw TpmError(error);
  }
  if (now != nv.name) raise_nv_changed(error, work.commands.place());
}

// One command. The index is used as a key is, by its value or its policy.
void Tpm::nv_command(const Caller& caller, const NvPublic& nv, const NvAuth& auth, TPM2_CC command,
                     const KeyBody& body) {
  const std::string object = hex(nv.area.nvIndex);
  if (auth.by == NvAuth::By::kIndex) {
    const KeyRef index{nv.area.nvIndex, nullptr, nv.name, object};
    with_key(caller, index, {auth.value, nullptr, auth.protect, auth.policy}, command, body);
    return;
  }
  Subject owner = this->owner(auth.value);
  owner.kind = Subject::Kind::kNvOwner;
  check_not_refused(owner, place(object));
  with_connection(caller, object, [&](Work& work) {
    const Authorization owner_auth =
        work.residency.authorization(work.commands, nullptr, auth.value, auth.protect);
    try {
      body(work.commands, owner.entity, owner_auth);
    } catch (const TpmError& error) {
      check_nv_unchanged(work, error, nv);
      examine_refusal(work, error, owner);
      throw;
    }
  });
}

Bytes Tpm::nv_read(const Caller& caller, const NvPublic& nv, const NvAuth& auth) {
  const Entity index{nv.area.nvIndex, nv.name};
  const std::size_t most = nv_buffer_size(caller);
  Bytes data;
  while (data.size() < nv.area.dataSize) {
    const auto size = static_cast<std::uint16_t>(std::min(most, nv.area.dataSize - data.size()));
    Bytes chunk;
    nv_command(caller, nv, auth, TPM2_CC_NV_Read,
               [&](Commands& commands, const Entity& by, const Authorization& authorization) {
                 chunk = commands.nv_read(by, authorization, index, size,
                                          static_cast<std::uint16_t>(data.size()));
               });
    data.insert(data.end(), chunk.begin(), chunk.end());
  }
  return data;
}

PublicObject Tpm::primary_public(const Caller& caller, const Parent& parent, const Secret* value) {
  const Subject hierarchy = subject(parent.handle, value);
  check_not_refused(hierarchy, place(hex(parent.handle)));
  PublicObject object;
  with_connection(caller, hex(parent.handle), [&](Work& work) {
    work.residency.evict(work.commands);
    try {
      work.residency.with_parent(work.commands, parent, value, false,
                                 [&](const Entity& primary, const Authorization&) {
                                   object = work.commands.read_public(primary.handle);
                                 });
    } catch (const TpmError& error) {
      examine_refusal(work, error, hierarchy);
      throw;
    }
  });
  return object;
}

}  // namespace hwid::tpm2
