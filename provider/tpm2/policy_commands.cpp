// The commands of policies: commands.h.
#include "provider/tpm2/commands.h"
#include "provider/tpm2/public_area.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::ByteView;

void Commands::policy_statement(TPM2_CC code, const char* call, TPM2_HANDLE session,
                                ByteView parameters) {
  Command statement = command(code, call);
  statement.handle(session);
  for (const std::uint8_t byte : parameters) statement.put8(byte);
  plain(statement).finish();
}

void Commands::policy_pcr(TPM2_HANDLE session, ByteView digest, const TPML_PCR_SELECTION& pcrs) {
  Command pcr = command(TPM2_CC_PolicyPCR, "TPM2_PolicyPCR");
  pcr.handle(session).put_sized(digest).put(Tss2_MU_TPML_PCR_SELECTION_Marshal, pcrs);
  plain(pcr).finish();
}

void Commands::policy_or(TPM2_HANDLE session, std::span<const Bytes> digests) {
  Command one_of = command(TPM2_CC_PolicyOR, "TPM2_PolicyOR");
  one_of.handle(session).put32(static_cast<std::uint32_t>(digests.size()));
  for (const Bytes& digest : digests) one_of.put_sized(digest);
  plain(one_of).finish();
}

void Commands::policy_signed(const Entity& signer, TPM2_HANDLE session, ByteView policy_ref,
                             std::int32_t expiration, const TPMT_SIGNATURE& signature) {
  Command signed_by = command(TPM2_CC_PolicySigned, "TPM2_PolicySigned");
  signed_by.handle(signer)
      .handle(session)
      .put_sized({})  // nonceTPM
      .put_sized({})  // cpHashA
      .put_sized(policy_ref)
      .put32(static_cast<std::uint32_t>(expiration))
      .put(Tss2_MU_TPMT_SIGNATURE_Marshal, signature);
  Response response = plain(signed_by);
  response.take_sized_bytes();  // timeout
  response.take_rest();         // a ticket, which only a negative expiration makes one
}

void Commands::policy_counter_timer(TPM2_HANDLE session, ByteView operand, std::uint16_t offset,
                                    std::uint16_t operation) {
  Command counter = command(TPM2_CC_PolicyCounterTimer, "TPM2_PolicyCounterTimer");
  counter.handle(session).put_sized(operand).put16(offset).put16(operation);
  plain(counter).finish();
}

void Commands::policy_secret(const Entity& object, const Authorization& auth, TPM2_HANDLE session,
                             ByteView policy_ref) {
  Command secret = command(TPM2_CC_PolicySecret, "TPM2_PolicySecret");
  secret.handle(object)
      .handle({session, handle_name(session)})
      .put_sized({})  // nonceTPM
      .put_sized({})  // cpHashA
      .put_sized(policy_ref)
      .put32(0);  // it does not expire
  Response response = authorized(secret, auth, false, false);
  response.take_sized_bytes();  // timeout
  response.take_rest();         // a ticket, which only a negative expiration makes one
}

void Commands::policy_authorize(TPM2_HANDLE session, ByteView approved, ByteView policy_ref,
                                ByteView signer_name, const TPMT_TK_VERIFIED& ticket) {
  Command authorize = command(TPM2_CC_PolicyAuthorize, "TPM2_PolicyAuthorize");
  authorize.handle(session)
      .put_sized(approved)
      .put_sized(policy_ref)
      .put_sized(signer_name)
      .put(Tss2_MU_TPMT_TK_VERIFIED_Marshal, ticket);
  plain(authorize).finish();
}

Bytes Commands::policy_digest(TPM2_HANDLE session) {
  Command get = command(TPM2_CC_PolicyGetDigest, "TPM2_PolicyGetDigest");
  get.handle(session);
  Response response = plain(get);
  const ByteView digest = response.take_sized_bytes();
  response.finish();
  return {digest.begin(), digest.end()};
}

Entity Commands::load_external(const TPM2B_PUBLIC& public_area) {
  Command load = command(TPM2_CC_LoadExternal, "TPM2_LoadExternal");
  load.put_sized({}).put(Tss2_MU_TPM2B_PUBLIC_Marshal, public_area).put32(TPM2_RH_OWNER);
  Response response = plain(load, true);
  Entity loaded{response.handle(), {}};
  read_or_flush(loaded.handle, [&] {
    response.take_sized_bytes();  // name
    response.finish();
    loaded.name = object_name(*crypto_, public_area.publicArea);
  });
  return loaded;
}

TPMT_TK_VERIFIED Commands::verify_signature(const Entity& key, ByteView digest,
                                            const TPMT_SIGNATURE& signature) {
  Command verify = command(TPM2_CC_VerifySignature, "TPM2_VerifySignature");
  verify.handle(key).put_sized(digest).put(Tss2_MU_TPMT_SIGNATURE_Marshal, signature);
  Response response = plain(verify);
  const auto ticket = response.take(Tss2_MU_TPMT_TK_VERIFIED_Unmarshal);
  response.finish();
  return ticket;
}

// A TPM answers with at most eight values, and says which ones these are.
std::vector<PcrValue> Commands::pcr_read(const TPML_PCR_SELECTION& pcrs) {
  std::vector<PcrValue> all;
  TPML_PCR_SELECTION left = pcrs;
  while (selected_pcrs(left) != 0) {
    Command read = command(TPM2_CC_PCR_Read, "TPM2_PCR_Read");
    read.put(Tss2_MU_TPML_PCR_SELECTION_Marshal, left);
    Response response = plain(read);
    response.take32();  // how often a PCR changed
    const auto given = response.take(Tss2_MU_TPML_PCR_SELECTION_Unmarshal);
    const std::uint32_t count = response.take32();
    if (count != selected_pcrs(given)) response.fail();
    if (count == 0) break;
    each_pcr(given, [&](TPMI_ALG_HASH bank, unsigned pcr) {
      const ByteView value = response.take_sized_bytes();
      if (!take_pcr(left, bank, pcr)) response.fail();
      all.push_back({bank, pcr, {value.begin(), value.end()}});
    });
    response.finish();
  }
  return all;
}

}  // namespace hwid::tpm2
