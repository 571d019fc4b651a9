// Whether a key can leave its TPM: commands.h.
#include "provider/tpm2/commands.h"
#include "provider/tpm2/public_area.h"

namespace hwid::tpm2 {

using core::Secret;

namespace {

constexpr TPMT_SYM_DEF_OBJECT kNoWrapper{TPM2_ALG_NULL, {}, {}};

TPMT_SYM_DEF_OBJECT aes_wrapper() {
  TPMT_SYM_DEF_OBJECT wrapper{};
  wrapper.algorithm = TPM2_ALG_AES;
  wrapper.keyBits.aes = 128;
  wrapper.mode.aes = TPM2_ALG_CFB;
  return wrapper;
}

}  // namespace

Duplicate Commands::duplicate(const Entity& key, const Entity& new_parent, bool inner_wrapper) {
  // Neither salted nor bound: it proves nothing but that the policy is followed.
  AuthSession session = start_session({TPM2_SE_POLICY});
  try {
    constexpr std::uint8_t kThis[] = {0, 0, TPM2_CC_Duplicate >> 8, TPM2_CC_Duplicate & 0xff};
    policy_statement(TPM2_CC_PolicyCommandCode, "TPM2_PolicyCommandCode", session.handle, kThis);
    Command duplicate = command(TPM2_CC_Duplicate, "TPM2_Duplicate");
    duplicate.handle(key)
        .handle(new_parent)
        .put_sized({})
        .put(Tss2_MU_TPMT_SYM_DEF_OBJECT_Marshal, inner_wrapper ? aes_wrapper() : kNoWrapper);
    const SessionUse use{&session, nullptr, false, false};
    Response response = connection_.transact(duplicate, {&use, 1}, crypto_, false);
    Duplicate out;
    out.encryption_key = Secret(response.take_sized_bytes());
    out.private_area = Secret(response.take_sized_bytes());
    const core::ByteView seed = response.take_sized_bytes();
    out.seed = {seed.begin(), seed.end()};
    response.finish();
    flush_if_there(session.handle);
    return out;
  } catch (const TpmError& error) {
    if (!is_tcti_error(error.rc)) flush_if_there(session.handle);
    throw;
  }
}

}  // namespace hwid::tpm2
