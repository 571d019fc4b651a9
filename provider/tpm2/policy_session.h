// A policy session: where the TPM is told, before each use of a key, what holds.
#pragma once

#include <functional>
#include <map>
#include <utility>

#include "provider/tpm2/commands.h"
#include "provider/tpm2/policy.h"

namespace hwid::tpm2 {

// Belongs to one connection; not thread-safe. The TPM forgets what it was told with each command
// that the session authorizes, so one session serves all keys of a hash, one after the other.
class PolicySession {
 public:
  explicit PolicySession(AuthSession session) : session_(std::move(session)) {}

  AuthSession& session() noexcept { return session_; }
  const AuthSession& session() const noexcept { return session_; }
  bool is_salted() const noexcept { return session_.key.size() != 0; }

  // Tells the TPM one of the key's policies, which must hold now and allow `command`. Where no auth
  // value is given, none is taken that asks for it if another one does not. True if it is asked
  // for. `in_clear`: it will be shown as it is. Throws what the TPM says of the first that does not
  // hold; of a PCR with its value and the one that is wanted.
  struct Use {
    const KeyPolicy& policy;
    TPM2_CC command;
    bool has_value;
    bool in_clear;
    // The key takes no slot, so one that signs policies may stay loaded in its stead.
    bool keeps_signer;
    // Of the key's parent, which may be what else is asked for its auth value; and how one is
    // shown.
    TPM2_HANDLE parent;
    const core::Secret* parent_value;
    std::function<Authorization(const core::Secret*)> authorize;
  };
  bool tell(Commands& commands, const core::Libcrypto& crypto, const Use& use);
  // Flushes the signer that stayed loaded. False if none did.
  bool evict_signer(Commands& commands);
  bool owns(TPM2_HANDLE handle) const noexcept {
    return session_.handle == handle || (signer_ && signer_->handle == handle);
  }
  // The command that it authorized succeeded.
  void used() noexcept { told_ = false; }

 private:
  friend class Telling;
  AuthSession session_;
  std::optional<Entity> signer_;
  bool told_ = false;
  std::map<core::Bytes, std::size_t> held_last_;     // of several policies, by their digest
  std::map<core::Bytes, TPMT_TK_VERIFIED> tickets_;  // of approvals, by what was approved by whom
};

// What the PCRs have, where the TPM found out about them only when the key was used: `error` again
// if the policy has none of that kind.
[[noreturn]] void raise_policy_failure(Commands& commands, const KeyPolicy& policy,
                                       const TpmError& error);

}  // namespace hwid::tpm2
