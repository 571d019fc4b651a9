// NV memory: tpm.h.
#include <algorithm>

#include "provider/tpm2/cleansed_bytes.h"
#include "provider/tpm2/public_area.h"
#include "provider/tpm2/tpm.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::ByteView;
using core::Error;
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
  data.reserve(nv.area.dataSize);  // which may be secret: it never moves
  while (data.size() < nv.area.dataSize) {
    const auto size = static_cast<std::uint16_t>(std::min(most, nv.area.dataSize - data.size()));
    Bytes chunk;
    const CleansedAtEnd guard(chunk);
    try {
      nv_command(caller, nv, auth, TPM2_CC_NV_Read,
                 [&](Commands& commands, const Entity& by, const Authorization& authorization) {
                   chunk = commands.nv_read(by, authorization, index, size,
                                            static_cast<std::uint16_t>(data.size()));
                 });
    } catch (...) {
      OPENSSL_cleanse(data.data(), data.size());
      throw;
    }
    data.insert(data.end(), chunk.begin(), chunk.end());
  }
  return data;
}

namespace {

// Of a parameter of the command.
bool is_of_parameter(const TpmError& error, TSS2_RC code, TSS2_RC number) noexcept {
  return base_code(error.rc) == code &&
         (error.rc & (TPM2_RC_P | TPM2_RC_N_MASK)) == (TPM2_RC_P | number);
}

NvPublic nv_with(const core::Libcrypto& crypto, TPMS_NV_PUBLIC area, TPMA_NV attributes) {
  area.attributes = attributes;
  return {area, nv_name(crypto, area)};
}

NvPublic written(const core::Libcrypto& crypto, const TPMS_NV_PUBLIC& area) {
  return nv_with(crypto, area, area.attributes | TPMA_NV_WRITTEN);
}

}  // namespace

void Tpm::nv_define(const Caller& caller, const NvPublic& wanted, const Secret* new_auth,
                    const Secret* owner_value, bool protect) {
  const std::string object = hex(wanted.area.nvIndex);
  const std::size_t most = hash_size(wanted.area.nameAlg);
  if (trimmed(new_auth).size() > most)
    throw Error(Reason::kBadParameter, "TPM2_NV_DefineSpace:" + place_text(place(object)) +
                                           ": the auth value is longer than the " +
                                           std::to_string(most) +
                                           " bytes that an NV index takes; choose a shorter one");
  Subject owner = this->owner(owner_value);
  owner.kind = Subject::Kind::kNvOwner;
  check_not_refused(owner, place(object));
  bool may_be_done = false;  // the answer to a first try may be what was lost
  with_connection(caller, object, [&](Work& work) {
    const Authorization auth = work.residency.authorization(work.commands, nullptr, owner_value,
                                                            protect || has_value(new_auth));
    try {
      work.commands.nv_define_space(auth, new_auth, wanted.area);
    } catch (const TpmError& error) {
      examine_refusal(work, error, owner);
      const TSS2_RC code = base_code(error.rc);
      const bool is_ours = code == TPM2_RC_NV_DEFINED && may_be_done &&
                           work.commands.nv_read_public(wanted.area.nvIndex).name == wanted.name;
      if (is_ours) return;
      if (is_tcti_error(code)) may_be_done = true;
      if (code == TPM2_RC_NV_DEFINED)
        raise(Reason::kExists, error.rc, error.call, work.commands.place(),
              "an NV index is there; choose another one, or replace it: --force", error.where);
      if (is_of_parameter(error, TPM2_RC_SIZE, TPM2_RC_2))
        raise(Reason::kBadParameter, error.rc, error.call, work.commands.place(),
              "an NV index of this TPM does not hold " + std::to_string(wanted.area.dataSize) +
                  " bytes; leave the certificate in a file",
              error.where);
      throw;
    }
  });
}

// The index was not written yet. Its name changes with the first write, also where the answer to
// that was lost.
void Tpm::nv_write(const Caller& caller, const NvPublic& nv, ByteView data, const NvAuth& writer) {
  const std::size_t most = nv_buffer_size(caller);
  const NvPublic after = written(caller.crypto, nv.area);
  NvPublic now = nv;
  for (std::size_t at = 0; at < data.size();) {
    const ByteView chunk = data.subspan(at, std::min(most, data.size() - at));
    bool may_be_done = false;
    nv_command(caller, now, writer, TPM2_CC_NV_Write,
               [&](Commands& commands, const Entity& by, const Authorization& auth) {
                 const TPM2_HANDLE index = now.area.nvIndex;
                 if (may_be_done && commands.nv_read_public(index).name == after.name) now = after;
                 const Entity there{index, now.name};
                 const Entity& who = writer.by == NvAuth::By::kIndex ? there : by;
                 try {
                   commands.nv_write(who, auth, there, chunk, static_cast<std::uint16_t>(at));
                 } catch (const TpmError& error) {
                   may_be_done = is_tcti_error(base_code(error.rc));
                   throw;
                 }
               });
    at += chunk.size();
    now = after;
  }
}

NvPublic Tpm::nv_store(const Caller& caller, const TPMS_NV_PUBLIC& wanted, ByteView data,
                       const Secret* new_auth, const Secret* owner_value, bool protect) {
  NvPublic fresh{wanted, nv_name(caller.crypto, wanted)};
  nv_define(caller, fresh, new_auth, owner_value, protect);
  if (data.empty()) return fresh;
  NvAuth writer{NvAuth::By::kOwner, owner_value, protect};
  if ((wanted.attributes & TPMA_NV_OWNERWRITE) == 0)
    writer = {NvAuth::By::kIndex, new_auth, protect};
  try {
    nv_write(caller, fresh, data, writer);
  } catch (const Error&) {
    try {
      const NvPublic left = nv_public(caller, wanted.nvIndex);
      if (left.name == fresh.name || left.name == written(caller.crypto, wanted).name)
        nv_remove(caller, left, owner_value, protect);
    } catch (const Error& left) {  // why it was not written says more
      HWID_LOG(caller.log, kWarn, hex(wanted.nvIndex) + " is left behind: " + left.what());
    }
    throw;
  }
  return written(caller.crypto, wanted);
}

// A password compares no names, so they are compared here.
void Tpm::nv_remove(const Caller& caller, const NvPublic& nv, const Secret* owner_value,
                    bool protect) {
  bool may_be_done = false;
  const auto is_gone = [&](const TpmError& error) {
    return may_be_done && base_code(error.rc) == TPM2_RC_HANDLE;
  };
  const auto remove = [&](Commands& commands, const Entity&, const Authorization& auth) {
    try {
      const Entity index{nv.area.nvIndex, commands.nv_read_public(nv.area.nvIndex).name};
      if (index.name != nv.name)
        throw Error(Reason::kKeyChanged, "TPM2_NV_ReadPublic:" + place_text(commands.place()) +
                                             ": the NV index was written or defined anew "
                                             "meanwhile, and is not removed; look at it again");
      commands.nv_undefine_space(auth, index);
    } catch (const TpmError& error) {
      if (is_gone(error)) return;
      if (is_tcti_error(base_code(error.rc))) may_be_done = true;
      throw;
    }
  };
  nv_command(caller, nv, {NvAuth::By::kOwner, owner_value, protect}, TPM2_CC_NV_UndefineSpace,
             remove);
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
