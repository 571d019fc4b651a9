// Attestation: commands.h.
#include <algorithm>

#include "provider/tpm2/commands.h"

namespace hwid::tpm2 {

using core::ByteView;
using core::Secret;

namespace {

// The signer's own scheme.
constexpr TPMT_SIG_SCHEME kItsScheme{TPM2_ALG_NULL, {}};

Attested take_attested(Response& response) {
  Attested attested;
  const ByteView attest = response.take_sized_bytes();
  attested.attest.assign(attest.begin(), attest.end());
  attested.signature = response.take(Tss2_MU_TPMT_SIGNATURE_Unmarshal);
  response.finish();
  return attested;
}

SessionUse use_of(const Authorization& auth) {
  if (auth.policy != nullptr) return {auth.policy, auth.value, auth.in_clear};
  return {auth.session, auth.value};
}

}  // namespace

Response Commands::authorized_pair(Command& command, const Authorization& first,
                                   const Authorization& second, AuthSession* hides) {
  for (const Authorization* const auth : {&first, &second}) {
    const bool has_session = auth->policy != nullptr || auth->session != nullptr;
    if (!has_session && !auth->in_clear && has_value(auth->value))
      throw core::Error(
          core::Reason::kInternal,
          std::string(command.call()) + place_text(place_) +
              ": an auth value without a session would go over the bus in clear; this "
              "is a mistake of the program");
  }
  std::vector<SessionUse> uses = {use_of(first), use_of(second)};
  // A command takes no session twice.
  const auto use_too = [&](AuthSession* session) -> SessionUse& {
    const auto there = std::ranges::find(uses, session, &SessionUse::session);
    return there != uses.end() ? *there : uses.emplace_back(SessionUse{session});
  };
  // Beside a policy, as in authorized().
  for (const Authorization* const auth : {&first, &second}) {
    if (auth->policy != nullptr && auth->session != nullptr) use_too(auth->session).decrypt = true;
  }
  if (hides != nullptr) use_too(hides).encrypt = true;
  return connection_.transact(command, uses, crypto_, false);
}

Attested Commands::certify(const Entity& object, const Authorization& object_auth,
                           const Entity& signer, const Authorization& auth, ByteView nonce) {
  Command certify = command(TPM2_CC_Certify, "TPM2_Certify");
  certify.handle(object).handle(signer).put_sized(nonce).put(Tss2_MU_TPMT_SIG_SCHEME_Marshal,
                                                             kItsScheme);
  Response response = authorized_pair(certify, object_auth, auth);
  return take_attested(response);
}

Attested Commands::certify_creation(const Entity& signer, const Authorization& auth,
                                    const Entity& object, ByteView nonce, ByteView creation_hash,
                                    const TPMT_TK_CREATION& ticket) {
  Command certify = command(TPM2_CC_CertifyCreation, "TPM2_CertifyCreation");
  certify.handle(signer)
      .handle(object)
      .put_sized(nonce)
      .put_sized(creation_hash)
      .put(Tss2_MU_TPMT_SIG_SCHEME_Marshal, kItsScheme)
      .put(Tss2_MU_TPMT_TK_CREATION_Marshal, ticket);
  Response response = authorized(certify, auth, false, false);
  return take_attested(response);
}

Attested Commands::quote(const Entity& signer, const Authorization& auth, ByteView nonce,
                         const TPML_PCR_SELECTION& pcrs) {
  Command quote = command(TPM2_CC_Quote, "TPM2_Quote");
  quote.handle(signer)
      .put_sized(nonce)
      .put(Tss2_MU_TPMT_SIG_SCHEME_Marshal, kItsScheme)
      .put(Tss2_MU_TPML_PCR_SELECTION_Marshal, pcrs);
  Response response = authorized(quote, auth, false, false);
  return take_attested(response);
}

Secret Commands::activate_credential(const Entity& object, const Authorization& object_auth,
                                     const Entity& key, const Authorization& auth, ByteView blob,
                                     const TPM2B_ENCRYPTED_SECRET& secret, AuthSession* hides) {
  Command activate = command(TPM2_CC_ActivateCredential, "TPM2_ActivateCredential");
  activate.handle(object).handle(key).put_sized(blob).put(Tss2_MU_TPM2B_ENCRYPTED_SECRET_Marshal,
                                                          secret);
  Response response = authorized_pair(activate, object_auth, auth, hides);
  Secret given(response.take_sized_bytes());
  response.finish();
  return given;
}

}  // namespace hwid::tpm2
