// Attestation: tpm.h.
#include "provider/tpm2/tpm.h"

namespace hwid::tpm2 {

using core::ByteView;
using core::Error;
using core::Reason;
using core::Secret;

namespace {

// The first session of a command is the one that was refused (TPM 2.0 Part 2, 6.6.2).
bool is_of_first_session(TSS2_RC rc) noexcept {
  return (rc & (TPM2_RC_P | TPM2_RC_N_MASK)) == (TPM2_RC_S | TPM2_RC_1);
}

}  // namespace

void Tpm::examine_other(Work& work, const TpmError& error, const Subject& other) {
  try {
    examine_refusal(work, error, other);
  } catch (const TpmError& meant) {
    const bool is_of_value = meant.reason == Reason::kPinWrong ||
                             meant.reason == Reason::kPinMissing ||
                             meant.reason == Reason::kPinLocked;
    if (!is_of_value) throw;  // it may heal
    throw Error(meant.reason, meant.code, meant.what(), meant.where);
  }
}

void Tpm::with_pair(const Caller& caller, const KeyRef& key, const KeyAuth& auth, TPM2_CC command,
                    const KeyRef& second, const KeyAuth& second_auth, const PairBody& body) {
  Subject other = subject(second, second_auth);
  Subject parent = subject(second.blob ? second.blob->parent.handle : 0, second_auth.parent_value);
  core::RefusedPins& refused = core::Process::get().refused_pins();
  check_not_refused(other, place(second.label));
  core::Bytes tried = refused.fingerprint(other.identity, trimmed(second_auth.value));
  if (second.blob) {
    check_not_refused(parent, place(second.label));
    const core::Bytes more = refused.fingerprint(parent.identity, trimmed(parent.value));
    tried.insert(tried.end(), more.begin(), more.end());
  }
  bool is_loaded = false;
  const auto use_both = [&](Work& work, const Entity& entity, const Authorization& shown) {
    is_loaded = !second.blob;
    work.residency.with_second(work.commands, second, second_auth,
                               [&](const Entity& beside, const Authorization& beside_shown) {
                                 is_loaded = true;
                                 other.entity = beside;
                                 body(work.commands, {entity, shown}, {beside, beside_shown});
                               });
  };
  with_work(
      caller, key, auth, command,
      [&](Work& work, const Entity& entity, const Authorization& shown) {
        try {
          use_both(work, entity, shown);
        } catch (const TpmError& error) {
          if (!is_loaded) {
            parent.entity.name = work.residency.known_name(parent.entity.handle);
            examine_other(work, error, parent);
            throw;
          }
          if (command != TPM2_CC_Certify || !is_of_first_session(error.rc)) throw;
          examine_other(work, error, other);
          throw;
        }
      },
      tried);
}

Attested Tpm::certify(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                      const KeyRef& object, const KeyAuth& object_auth, ByteView nonce) {
  Attested made;
  with_pair(
      caller, key, auth, TPM2_CC_Certify, object, object_auth,
      [&](Commands& commands, const Residency::Ready& signer, const Residency::Ready& beside) {
        made = commands.certify(beside.key, beside.auth, signer.key, signer.auth, nonce);
      });
  return made;
}

Attested Tpm::certify_creation(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                               const KeyRef& object, const KeyAuth& object_auth,
                               const CreationProof& creation, ByteView nonce) {
  Attested made;
  // The key itself is not used, so no auth value of it is tried.
  const KeyAuth loaded{nullptr, object_auth.parent_value, object_auth.protect};
  with_pair(
      caller, key, auth, TPM2_CC_CertifyCreation, object, loaded,
      [&](Commands& commands, const Residency::Ready& signer, const Residency::Ready& beside) {
        made = commands.certify_creation(signer.key, signer.auth, beside.key, nonce, creation.hash,
                                         creation.ticket);
      });
  return made;
}

Attested Tpm::quote(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                    const TPML_PCR_SELECTION& pcrs, ByteView nonce) {
  Attested made;
  with_key(caller, key, auth, TPM2_CC_Quote,
           [&](Commands& commands, const Entity& entity, const Authorization& shown) {
             made = commands.quote(entity, shown, nonce, pcrs);
           });
  return made;
}

Secret Tpm::activate_credential(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                                const EkRef& endorsement_key, const Secret* endorsement_value,
                                const Credential& credential) {
  Subject hierarchy = subject(TPM2_RH_ENDORSEMENT, endorsement_value);
  hierarchy.kind = Subject::Kind::kEndorsement;
  check_not_refused(hierarchy, place("endorsement hierarchy"));
  Secret given;
  with_work(caller, key, auth, TPM2_CC_ActivateCredential,
            [&](Work& work, const Entity& entity, const Authorization& shown) {
              try {
                work.residency.with_endorsement_key(
                    work.commands, endorsement_key, endorsement_value,
                    [&](const Entity& there, const Authorization& there_shown, AuthSession* hides) {
                      given = work.commands.activate_credential(entity, shown, there, there_shown,
                                                                credential.blob, credential.secret,
                                                                hides);
                    });
              } catch (const TpmError& error) {
                if (std::string_view(error.call) == "TPM2_ActivateCredential") throw;
                examine_other(work, error, hierarchy);
                throw;
              }
            });
  return given;
}

}  // namespace hwid::tpm2
