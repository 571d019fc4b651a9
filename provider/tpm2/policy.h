// Policies: what must hold for a key to be used (TPM 2.0 Part 1, 19.7; Part 3, 23).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "provider/core/error.h"
#include "provider/core/secret.h"
#include "provider/tpm2/pcr.h"
#include "provider/tpm2/tss2_pem.h"

namespace hwid::tpm2 {

struct Policy;

// PCRs have certain values.
struct PcrStatement {
  TPML_PCR_SELECTION pcrs{};
  core::Bytes digest;            // of the values, by the policy's hash; empty: see `values`
  std::vector<PcrValue> values;  // where they are known; neither: whatever the key was made with
};
// The key's auth value is shown: TPM2_PolicyAuthValue and TPM2_PolicyPassword, which are one and
// the same to the digest.
struct AuthValueStatement {
  bool password = false;  // written as the latter
};
// The key is used by one command only.
struct CommandStatement {
  TPM2_CC command = 0;
};
// Somebody who holds the private half of `key` has signed.
struct Signer {
  TPM2B_PUBLIC key{};
  core::Bytes policy_ref;
  std::optional<TPMT_SIGNATURE> signature;  // there is none to make a key with
};
// ... that the key may be used, TPM2_PolicySigned.
struct SignedStatement {
  Signer signer;
  std::int32_t expiration = 0;
};
// ... the statements before this one, TPM2_PolicyAuthorize.
struct AuthorizeStatement {
  Signer signer;
};
// The auth value of something else in the TPM is shown, TPM2_PolicySecret: of a hierarchy, or of a
// persistent object.
struct SecretStatement {
  TPM2_HANDLE object = TPM2_RH_NULL;
  core::Bytes name;
  core::Bytes policy_ref;
  std::shared_ptr<const core::Secret> value;  // null: the parent's, if that is meant, or none
};
// What the TPM's clock and counters say, TPM2_PolicyCounterTimer: `operand` compared, by
// `operation`, with what stands at `offset` of TPMS_TIME_INFO.
struct CounterTimerStatement {
  core::Bytes operand;
  std::uint16_t offset = 0;
  std::uint16_t operation = 0;
};
// One of several policies holds. Only at the beginning of a policy.
struct OrStatement {
  std::vector<Policy> branches;
  std::vector<core::Bytes> digests;  // of branches that cannot be taken here
};
// TPM2_PolicyLocality, TPM2_PolicyPhysicalPresence: their parameters are all that there is to them.
struct PlainStatement {
  TPM2_CC command = 0;
  core::Bytes parameters;
};
using Statement = std::variant<PcrStatement, AuthValueStatement, CommandStatement, SignedStatement,
                               AuthorizeStatement, SecretStatement, CounterTimerStatement,
                               OrStatement, PlainStatement>;

struct Policy {
  std::vector<Statement> statements;  // in the order in which the TPM is told
};

// The policies of one key: any of them opens it.
struct KeyPolicy {
  TPMI_ALG_HASH hash = TPM2_ALG_SHA256;  // nameAlg of the key
  std::vector<Policy> alternatives;      // not empty, but where there is a problem
  std::string origin;                    // for messages: "policy booted", "the key's file"
  // Why it cannot be used: told at the first use, as the public half can be read all the same.
  std::optional<core::Error> problem = std::nullopt;
};

// What authPolicy of a key with that policy is; nullopt: it depends on PCRs that were not read.
std::optional<core::Bytes> policy_digest(const core::Libcrypto& crypto, TPMI_ALG_HASH hash,
                                         const Policy& policy);
// The digest after one more statement; nullopt likewise.
std::optional<core::Bytes> extended(const core::Libcrypto& crypto, TPMI_ALG_HASH hash,
                                    const core::Bytes& digest, const Statement& statement);

// What PolicyPCR is given; nullopt: the values are not known.
std::optional<core::Bytes> wanted_digest(const core::Libcrypto& crypto, TPMI_ALG_HASH hash,
                                         const PcrStatement& statement);

// False: a use by that command would fail, whatever holds.
bool allows(const Policy& policy, TPM2_CC command);
bool allows(const KeyPolicy& policy, TPM2_CC command);
// "TPM2_Sign", of all commands that a policy names; empty: it names none.
std::string allowed_text(const KeyPolicy& policy);
bool asks_value(const Policy& policy);   // one of its branches does
bool needs_value(const Policy& policy);  // all of them do
bool is_signed(const Policy& policy);    // each signature that it asks for is there

// What signers sign: H(approved || policyRef), H(nonce || expiration || cpHash || policyRef).
// Here without nonce and cpHash.
core::Bytes approved_message(core::ByteView approved, core::ByteView policy_ref);
core::Bytes signed_message(const SignedStatement& statement);
TPMI_ALG_HASH signature_hash(const TPMT_SIGNATURE& signature) noexcept;

// The policies in a key's file, whose forms are those of draft-bottomley-tpm2-keys, section 5, and
// of openssl_tpm2_engine. Only those that make up the key's authPolicy are taken; where none does,
// or a statement is not executed here, that is the problem.
std::shared_ptr<const KeyPolicy> policy_of_file(const core::Libcrypto& crypto, const Tss2Key& key);
// The same the other way round: sets `key`'s policy, and what of it is approved as its authPolicy.
// The values of PCRs go into its description. Throws kUnsupported for what the format has no form
// for (OR).
void put_policy(const core::Libcrypto& crypto, TPMI_ALG_HASH hash, const Policy& policy,
                Tss2Key& key);
// What a file's description says but for those values.
std::string without_values(const std::string& description);

std::string command_text(TPM2_CC command);  // "TPM2_Sign", "command 0x12a"

}  // namespace hwid::tpm2
