#include "provider/tpm2/attester.h"

#include <algorithm>

#include "provider/tpm2/nv.h"
#include "provider/tpm2/nv_certificates.h"

namespace hwid::tpm2 {

using core::ByteView;
using core::Error;
using core::Reason;
using core::Secret;

namespace {

// The first parameter of each attestation.
Attested with_nonce(ByteView nonce, const Place& place, const std::function<Attested()>& attest) {
  try {
    return attest();
  } catch (const TpmError& error) {
    constexpr TSS2_RC kOfNonce = TPM2_RC_P | TPM2_RC_1;
    if (base_code(error.rc) != TPM2_RC_SIZE ||
        (error.rc & (TPM2_RC_P | TPM2_RC_N_MASK)) != kOfNonce)
      throw;
    raise(Reason::kBadParameter, error.rc, error.call, place,
          "the nonce has " + std::to_string(nonce.size()) +
              " bytes, more than this TPM takes; 32 fit into each",
          error.where);
  }
}

}  // namespace

Attester::Attester(const Key& ak) : ak_(ak) {
  const KeyTraits& traits = ak.traits();
  if (traits.restricted && !traits.decrypt && traits.scheme != TPM2_ALG_NULL) return;
  throw Error(Reason::kNotPermitted,
              "attestation key:" + place_text(ak.place()) +
                  ": it is not restricted to what the TPM says by itself, so nobody could believe "
                  "it; make one with `hwid attest request` or `hwid generate --attestation`");
}

TPM2B_PUBLIC Attester::public_area(const Key& key) {
  PublicObject object;
  key.with_object([&](Commands& commands, const Entity& entity) {
    object = commands.read_public(entity.handle);
  });
  if (object.name != key.ref_.name)
    throw Error(Reason::kKeyChanged, "TPM2_ReadPublic:" + place_text(key.place()) +
                                         ": another key sits there now; open the key again");
  return {0, object.public_area};
}

KeyAuth Attester::value_of(const Key& object) {
  const KeySecrets& secrets = object.secrets_;
  return {secrets.value ? &*secrets.value : nullptr,
          secrets.parent_value ? &*secrets.parent_value : nullptr, false};
}

// A handle is one of another object elsewhere.
void Attester::require_same_tpm(const Key& object) const {
  if (&object.device_->tpm() == &tpm()) return;
  throw Error(Reason::kUnsupported, "attestation key:" + place_text(ak_.place()) +
                                        ": the key that it is to certify is in " +
                                        tcti_text(object.device_->tpm().tcti()) +
                                        ", another TPM; use an attestation key of that one");
}

Attested Attester::certify(const Key& object, ByteView nonce) const {
  require_same_tpm(object);
  return with_nonce(nonce, ak_.place(), [&] {
    return tpm().certify(ak_.caller_, ak_.ref_, ak_.auth(), object.ref_, value_of(object), nonce);
  });
}

Attested Attester::certify_creation(const Key& object, const CreationProof& creation,
                                    ByteView nonce) const {
  require_same_tpm(object);
  try {
    return tpm().certify_creation(ak_.caller_, ak_.ref_, ak_.auth(), object.ref_, value_of(object),
                                  creation, nonce);
  } catch (const TpmError& error) {
    if (base_code(error.rc) != TPM2_RC_TICKET) throw;
    raise(Reason::kNotPermitted, error.rc, error.call, object.place(),
          "the creation was another key's or TPM's, or the TPM was cleared since; leave the "
          "creation out, or make a new key",
          error.where);
  }
}

Attested Attester::quote(const TPML_PCR_SELECTION& pcrs, ByteView nonce) const {
  return with_nonce(nonce, ak_.place(),
                    [&] { return tpm().quote(ak_.caller_, ak_.ref_, ak_.auth(), pcrs, nonce); });
}

std::vector<PcrValue> Attester::pcr_values(const TPML_PCR_SELECTION& pcrs) const {
  return tpm().pcr_read(ak_.caller_, pcrs);
}

core::Bytes Attester::ek_certificate(const std::function<bool(const EkType&)>& is_of) const {
  const std::vector<TPM2_HANDLE> there = tpm().handles(ak_.caller_, TPM2_NV_INDEX_FIRST);
  for (const EkType& type : ek_types()) {
    if (!is_of(type) || std::ranges::find(there, type.certificate) == there.end()) continue;
    const std::optional<core::Bytes> bytes = read_public_nv(tpm(), ak_.caller_, type.certificate);
    if (!bytes) continue;
    NvCertificates found = certificates_in(ak_.caller_.crypto, *bytes);
    if (!found.all.empty()) return std::move(found.all.front());
  }
  return {};
}

Secret Attester::activate(const EndorsementKey& endorsement_key, const Secret* endorsement_value,
                          const Credential& credential) const {
  const EkRef key{endorsement_key.persistent, endorsement_key.wanted,
                  endorsement_key.object.public_area, endorsement_key.object.name};
  KeyAuth auth = ak_.auth();
  // In the ADMIN role a policy counts only where the key wants one, or where it names this command.
  const TPMA_OBJECT attributes = public_area(ak_).publicArea.objectAttributes;
  if ((attributes & TPMA_OBJECT_ADMINWITHPOLICY) == 0) auth.policy = nullptr;
  try {
    return tpm().activate_credential(ak_.caller_, ak_.ref_, auth, key, endorsement_value,
                                     credential);
  } catch (const TpmError& error) {
    // What the seed does not fit, and what it does not open (Part 3, 12.5).
    const TSS2_RC code = base_code(error.rc);
    const bool is_other = code == TPM2_RC_INTEGRITY || code == TPM2_RC_VALUE ||
                          code == TPM2_RC_SIZE || code == TPM2_RC_FAILURE ||
                          code == TPM2_RC_ECC_POINT || code == TPM2_RC_INSUFFICIENT;
    if (!is_other || std::string_view(error.call) != "TPM2_ActivateCredential") throw;
    raise(Reason::kNotPermitted, error.rc, error.call, ak_.place(),
          "the challenge was made for another attestation key or another TPM; ask for a new one "
          "with `hwid attest request`",
          error.where);
  }
}

}  // namespace hwid::tpm2
