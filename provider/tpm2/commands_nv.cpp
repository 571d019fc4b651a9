// NV memory (TPM 2.0 Part 3, 31): commands.h.
#include <algorithm>

#include "provider/tpm2/commands.h"
#include "provider/tpm2/public_area.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::ByteView;
using core::Secret;

NvPublic Commands::nv_read_public(TPM2_HANDLE index) {
  Command read = command(TPM2_CC_NV_ReadPublic, "TPM2_NV_ReadPublic");
  read.handle(index);
  Response response = plain(read);
  NvPublic nv;
  nv.area = response.take_sized(Tss2_MU_TPMS_NV_PUBLIC_Unmarshal);
  response.take_sized_bytes();  // name
  response.finish();
  if (nv.area.nvIndex != index) response.fail();
  nv.name = nv_name(*crypto_, nv.area);
  return nv;
}

Bytes Commands::nv_read(const Entity& by, const Authorization& auth, const Entity& index,
                        std::uint16_t size, std::uint16_t offset) {
  Command read = command(TPM2_CC_NV_Read, "TPM2_NV_Read");
  read.handle(by).handle(index).put16(size).put16(offset);
  Response response = authorized(read, auth, false, true);
  const ByteView data = response.take_sized_bytes();
  response.finish();
  if (data.size() != size) response.fail();
  return {data.begin(), data.end()};
}

void Commands::nv_write(const Entity& by, const Authorization& auth, const Entity& index,
                        ByteView data, std::uint16_t offset) {
  Command write = command(TPM2_CC_NV_Write, "TPM2_NV_Write");
  write.handle(by).handle(index).put_sized(data).put16(offset);
  authorized(write, auth, true, false).finish();
}

void Commands::nv_define_space(const Authorization& owner_auth, const Secret* new_auth,
                               const TPMS_NV_PUBLIC& wanted) {
  Command define = command(TPM2_CC_NV_DefineSpace, "TPM2_NV_DefineSpace");
  require_hidden(define, owner_auth, new_auth);
  define.handle({TPM2_RH_OWNER, handle_name(TPM2_RH_OWNER)})
      .put_sized(trimmed(new_auth))
      .put(Tss2_MU_TPM2B_NV_PUBLIC_Marshal, TPM2B_NV_PUBLIC{0, wanted});
  authorized(define, owner_auth, true, false).finish();
}

void Commands::nv_undefine_space(const Authorization& owner_auth, const Entity& index) {
  Command undefine = command(TPM2_CC_NV_UndefineSpace, "TPM2_NV_UndefineSpace");
  undefine.handle({TPM2_RH_OWNER, handle_name(TPM2_RH_OWNER)}).handle(index);
  authorized(undefine, owner_auth, false, false).finish();
}

// The PC Client profile wants 512 at least; what TPMs say beyond is not always true.
std::size_t Commands::nv_buffer_size() {
  constexpr std::size_t kLeast = 64;
  constexpr std::size_t kOrdinary = 512;
  const auto found = properties(TPM2_PT_NV_BUFFER_MAX, 1);
  const auto most = found.find(TPM2_PT_NV_BUFFER_MAX);
  if (most == found.end()) return kOrdinary;
  return std::clamp<std::size_t>(most->second, kLeast, TPM2_MAX_NV_BUFFER_SIZE);
}

}  // namespace hwid::tpm2
