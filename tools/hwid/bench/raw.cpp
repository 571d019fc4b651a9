#include "tools/hwid/bench/raw.h"

#include <algorithm>

#include "provider/core/error.h"
#include "provider/pkcs11/errors.h"
#include "provider/pkcs11/mechanism.h"
#include "provider/tpm2/sign_scheme.h"

namespace hwid::tool::bench {
namespace {

core::ByteView input_of(const Task& task) {
  return task.scheme.kind == core::SignScheme::Kind::kEddsa ? task.message : task.digest;
}

CK_RV sign_once(pkcs11::Lease& lease, CK_OBJECT_HANDLE key, const pkcs11::SignPlan& plan,
                core::ByteView input, core::Bytes& signature) {
  std::optional<CK_RSA_PKCS_PSS_PARAMS> pss = plan.pss;
  CK_MECHANISM mechanism{plan.mechanism, pss ? &*pss : nullptr, pss ? sizeof *pss : 0};
  CK_RV rv = lease->C_SignInit(lease.session(), &mechanism, key);
  if (rv != CKR_OK) return rv;
  lease.operation_begins();
  CK_ULONG size = signature.size();
  rv = lease->C_Sign(lease.session(), const_cast<CK_BYTE_PTR>(input.data()), input.size(),
                     signature.data(), &size);
  if (rv == CKR_OK) lease.operation_ends();
  return rv;
}

}  // namespace

void sign_raw(const core::Libcrypto& crypto, const pkcs11::Key& key, const Task& task, Run& run) {
  const pkcs11::Place place{key.description().token, core::name_of(key.description()), {}};
  key.with_signing_object([&](pkcs11::Lease& lease, CK_OBJECT_HANDLE object) {
    core::Bytes signature(2 * key.public_key().field_size());
    CK_RV rv = CKR_MECHANISM_INVALID;
    for (const pkcs11::SignPlan& plan : pkcs11::plans_for(task.scheme)) {
      if (plan.input == pkcs11::PlanInput::kMessage &&
          task.scheme.kind != core::SignScheme::Kind::kEddsa)
        continue;
      core::Bytes room;
      const core::ByteView input =
          pkcs11::prepare_input(crypto, plan, task.scheme, input_of(task), key.public_key(), room);
      rv = sign_once(lease, object, plan, input, signature);
      if (rv != CKR_OK) continue;
      while (run.next())
        pkcs11::check(sign_once(lease, object, plan, input, signature), "C_Sign", place);
      return;
    }
    pkcs11::check(rv, "C_SignInit", place);
  });
}

void sign_raw(const core::Libcrypto& crypto, const tpm2::Key& key, const Task& task, Run& run) {
  const tpm2::SignPlans plans =
      tpm2::plans_for(task.scheme, key.traits(), tpm2::PssSalt::kDigestSize);
  const tpm2::SignPlan& plan = *plans.begin();
  if (plan.command == tpm2::SignPlan::Command::kHashSign)
    throw core::Error(core::Reason::kUnsupported,
                      "TPM2_Sign: the key signs only what the TPM hashes; there is no raw limit");
  const core::Bytes input =
      tpm2::prepare_input(crypto, plan, task.scheme, task.digest, key.traits());
  TPM2B_DIGEST digest{};
  digest.size = static_cast<UINT16>(std::min(input.size(), sizeof digest.buffer));
  std::copy_n(input.begin(), digest.size, digest.buffer);
  key.with_use([&](tpm2::Commands& commands, const tpm2::Residency::Ready& ready) {
    while (run.next()) {
      if (plan.command == tpm2::SignPlan::Command::kRawRsa)
        (void)commands.rsa_decrypt(ready.key, ready.auth, input, {TPM2_ALG_NULL, {}});
      else
        (void)commands.sign(ready.key, ready.auth, digest, plan.scheme);
    }
  });
}

}  // namespace hwid::tool::bench
