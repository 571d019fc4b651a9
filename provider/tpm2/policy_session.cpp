#include "provider/tpm2/policy_session.h"

#include <algorithm>
#include <exception>

#include "provider/core/process.h"
#include "provider/tpm2/lockout.h"
#include "provider/tpm2/public_area.h"
#include "provider/tpm2/session_crypto.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::Error;
using core::Libcrypto;
using core::Reason;

namespace {

// " sha256:7 is AB, and CD is wanted", of each that differs.
std::string differences(const std::vector<PcrValue>& wanted, const std::vector<PcrValue>& found) {
  std::string text;
  for (const PcrValue& want : wanted) {
    const auto is_same = [&](const PcrValue& value) {
      return value.bank == want.bank && value.pcr == want.pcr;
    };
    const auto value = std::ranges::find_if(found, is_same);
    if (value != found.end() && value->value == want.value) continue;
    text += (text.empty() ? "PCR " : ", PCR ") + std::to_string(want.pcr) + " of bank " +
            bank_text(want.bank);
    text += value != found.end() ? " is " + core::to_hex(value->value) : " is not in this TPM";
    text += " and the policy wants " + core::to_hex(want.value);
  }
  return text;
}

constexpr const char* kNextStep =
    "; boot the software that the key was made for, or make a new key for what runs now";

// What differs from what `pcr` asks for.
std::string cause_of(Commands& commands, const Libcrypto& crypto, const KeyPolicy& policy,
                     const PcrStatement& pcr) {
  const std::vector<PcrValue> found = commands.pcr_read(pcr.pcrs);
  std::string cause = differences(pcr.values, found);
  if (!cause.empty()) return cause;
  cause = found.size() == 1 ? "PCR " + std::to_string(found[0].pcr) + " of bank " +
                                  bank_text(found[0].bank) + " is " + core::to_hex(found[0].value)
                            : "the PCRs are " + values_text(found);
  cause += ", digest " + core::to_hex(pcr_digest(crypto, policy.hash, found));
  const std::optional<Bytes> wanted = wanted_digest(crypto, policy.hash, pcr);
  cause += " and the policy wants ";
  cause += wanted ? "digest " + core::to_hex(*wanted) : "others";
  return cause;
}

// `unmet`: of each policy that was tried.
[[noreturn]] void raise_pcr(Commands& commands, const Libcrypto& crypto, const KeyPolicy& policy,
                            const std::vector<const PcrStatement*>& unmet, const TpmError& error) {
  std::vector<std::string> causes;
  for (const PcrStatement* const pcr : unmet) {
    std::string cause = cause_of(commands, crypto, policy, *pcr);
    if (std::ranges::find(causes, cause) == causes.end()) causes.push_back(std::move(cause));
  }
  std::string text;
  for (const std::string& cause : causes)
    text += (text.empty() ? "" : "; nor does another: ") + cause;
  raise(Reason::kNotPermitted, error.rc, error.call, commands.place(),
        policy.origin + " does not hold: " + text + kNextStep, error.where);
}

bool is_session_gone(TSS2_RC code) noexcept {
  return code >= TPM2_RC_REFERENCE_H0 && code <= TPM2_RC_REFERENCE_S6;
}

// Another policy may hold all the same. A lost connection or session is not the policy's fault, and
// neither is a key that stands where another one should.
bool is_of_policy(const Error& error) noexcept {
  if (const auto* const tpm = dynamic_cast<const TpmError*>(&error))
    return !is_tcti_error(tpm->rc) && !is_session_gone(base_code(tpm->rc));
  return error.reason == Reason::kPinWrong || error.reason == Reason::kPinMissing ||
         error.reason == Reason::kNotPermitted || error.reason == Reason::kBadConfiguration;
}

}  // namespace

// One policy after the other, until one holds.
class Telling {
 public:
  Telling(PolicySession& session, Commands& commands, const Libcrypto& crypto,
          const PolicySession::Use& use)
      : session_(session), commands_(commands), crypto_(crypto), use_(use) {}

  void any_of(const std::vector<Policy>& policies, const Bytes& name) {
    std::vector<std::size_t> order = candidates(policies, name);
    if (order.empty())
      throw Error(Reason::kNotPermitted,
                  command_text(use_.command) + ":" + place_text(commands_.place()) + ": " +
                      use_.policy.origin + " allows the key another command only; " +
                      "use a key that was made for this one");
    std::exception_ptr first;
    for (const std::size_t index : order) {
      try {
        restart();
        all_of(policies[index]);
        session_.held_last_[name] = index;
        return;
      } catch (const Error& error) {
        if (!is_of_policy(error)) throw;
        if (!first) first = std::current_exception();
      }
    }
    std::rethrow_exception(first);
  }
  // The same, where a PCR that is not as it should be is told with its value.
  void any_of_key(const Bytes& name) {
    try {
      any_of(use_.policy.alternatives, name);
    } catch (const TpmError& error) {
      const bool is_pcr =
          std::string_view(error.call) == "TPM2_PolicyPCR" && base_code(error.rc) == TPM2_RC_VALUE;
      if (!is_pcr || unmet_.empty()) throw;
      raise_pcr(commands_, crypto_, use_.policy, unmet_, error);
    }
  }
  bool asks_value() const noexcept { return asks_value_; }

  void operator()(const PcrStatement& pcr) {
    const std::optional<Bytes> digest = wanted_digest(crypto_, use_.policy.hash, pcr);
    try {
      commands_.policy_pcr(handle(), digest.value_or(Bytes()), pcr.pcrs);
    } catch (const TpmError& error) {
      if (base_code(error.rc) == TPM2_RC_VALUE) unmet_.push_back(&pcr);
      throw;
    }
  }
  void operator()(const AuthValueStatement&) {
    if (use_.in_clear)
      commands_.policy_statement(TPM2_CC_PolicyPassword, "TPM2_PolicyPassword", handle());
    else
      commands_.policy_statement(TPM2_CC_PolicyAuthValue, "TPM2_PolicyAuthValue", handle());
    asks_value_ = true;
  }
  void operator()(const CommandStatement& only) {
    commands_.policy_statement(TPM2_CC_PolicyCommandCode, "TPM2_PolicyCommandCode", handle(),
                               handle_name(only.command));
  }
  void operator()(const SignedStatement& statement) {
    const auto tell = [&](const Entity& signer) {
      try {
        commands_.policy_signed(signer, handle(), statement.signer.policy_ref, statement.expiration,
                                signature_of(statement.signer, TPM2_CC_PolicySigned));
      } catch (const TpmError& error) {
        if (base_code(error.rc) != TPM2_RC_SIGNATURE) throw;
        raise(Reason::kNotPermitted, error.rc, error.call, commands_.place(),
              use_.policy.origin + " is not signed: the signature is not one of " +
                  core::to_hex(signed_message(statement)) + " with " +
                  bank_text(signature_hash(*statement.signer.signature)) +
                  " by the key that has to sign it; sign that with the key and this digest",
              error.where);
      }
    };
    if (!use_.keeps_signer) {
      tell(Loaded(commands_, statement.signer).entity());
      return;
    }
    std::optional<Entity>& kept = session_.signer_;
    if (kept && kept->name == object_name(crypto_, statement.signer.key.publicArea)) {
      try {
        tell(*kept);
        return;
      } catch (const TpmError& error) {
        if (is_tcti_error(error.rc) || is_there(*kept)) throw;
        kept.reset();  // somebody flushed it, and perhaps another object is there now
      }
    }
    session_.evict_signer(commands_);
    kept = commands_.load_external(statement.signer.key);
    tell(*kept);
  }
  void operator()(const AuthorizeStatement& statement) {
    const Bytes approved = digest_ ? *digest_ : commands_.policy_digest(handle());
    const Bytes name = object_name(crypto_, statement.signer.key.publicArea);
    Bytes key = approved_message(approved, statement.signer.policy_ref);
    key.insert(key.end(), name.begin(), name.end());
    auto ticket = session_.tickets_.find(key);
    const bool is_new = ticket == session_.tickets_.end();
    if (is_new) ticket = session_.tickets_.emplace(key, approval(statement.signer, approved)).first;
    try {
      commands_.policy_authorize(handle(), approved, statement.signer.policy_ref, name,
                                 ticket->second);
    } catch (const TpmError&) {
      session_.tickets_.erase(ticket);
      if (is_new) throw;
      (*this)(statement);  // the hierarchy was cleared since: the ticket is good for nothing
    }
  }
  void operator()(const SecretStatement& statement) {
    const core::Secret* const value = value_of(statement);
    const std::string whose = "tpm2:" + commands_.place().tpm + "#" + hex(statement.object);
    core::RefusedPins& refused = core::Process::get().refused_pins();
    if (refused.knows(whose, trimmed(value))) raise_refused(statement, value);
    if (!has_value(value)) require_harmless(statement);
    const Authorization auth = use_.authorize(value);
    try {
      commands_.policy_secret({statement.object, statement.name}, auth, handle(),
                              statement.policy_ref);
    } catch (const TpmError& error) {
      const TSS2_RC code = base_code(error.rc);
      if (code != TPM2_RC_AUTH_FAIL && code != TPM2_RC_BAD_AUTH) throw;
      require_session(auth);
      refused.remember(whose, trimmed(value));
      raise_refused(statement, value);
    }
  }
  void operator()(const CounterTimerStatement& statement) {
    try {
      commands_.policy_counter_timer(handle(), statement.operand, statement.offset,
                                     statement.operation);
    } catch (const TpmError& error) {
      if (base_code(error.rc) != TPM2_RC_POLICY) throw;
      raise(
          Reason::kNotPermitted, error.rc, error.call, commands_.place(),
          use_.policy.origin +
              " does not hold: it asks for another state of the TPM's clock or of its counters of "
              "resets and restarts; see them with `tpm2_readclock`, or make a new key",
          error.where);
    }
  }
  void operator()(const OrStatement& one_of) {
    std::vector<Bytes> digests;
    Bytes name;
    for (const Policy& branch : one_of.branches) {
      const std::optional<Bytes> digest = policy_digest(crypto_, use_.policy.hash, branch);
      if (digest) digests.push_back(*digest);
    }
    digests.insert(digests.end(), one_of.digests.begin(), one_of.digests.end());
    for (const Bytes& digest : digests) name.insert(name.end(), digest.begin(), digest.end());
    any_of(one_of.branches, name);
    commands_.policy_or(handle(), digests);
  }
  void operator()(const PlainStatement& statement) {
    commands_.policy_statement(statement.command,
                               statement.command == TPM2_CC_PolicyLocality
                                   ? "TPM2_PolicyLocality"
                                   : "TPM2_PolicyPhysicalPresence",
                               handle(), statement.parameters);
  }

 private:
  // A signer's public half, loaded as long as it is needed.
  class Loaded {
   public:
    Loaded(Commands& commands, const Signer& signer)
        : commands_(commands), entity_(commands.load_external(signer.key)) {}
    Loaded(const Loaded&) = delete;
    Loaded& operator=(const Loaded&) = delete;
    ~Loaded() {
      try {
        commands_.flush(entity_.handle);
      } catch (const std::exception&) {
        // The connection is gone, which the next command will say.
      }
    }
    const Entity& entity() const noexcept { return entity_; }

   private:
    Commands& commands_;
    Entity entity_;
  };

  TPM2_HANDLE handle() const noexcept { return session_.session_.handle; }

  void restart() {
    if (std::exchange(session_.told_, false))
      commands_.policy_statement(TPM2_CC_PolicyRestart, "TPM2_PolicyRestart", handle());
    asks_value_ = false;
  }

  void all_of(const Policy& policy) {
    digest_ = Bytes(hash_size(use_.policy.hash));
    for (const Statement& statement : policy.statements) {
      const bool is_choice = std::holds_alternative<OrStatement>(statement);
      if (!is_choice) session_.told_ = true;
      std::visit(*this, statement);
      digest_ = is_choice || digest_
                    ? extended(crypto_, use_.policy.hash, digest_.value_or(Bytes()), statement)
                    : std::nullopt;
      if (!digest_ && std::holds_alternative<AuthorizeStatement>(statement))
        digest_ = extended(crypto_, use_.policy.hash, {}, statement);
    }
  }

  // What held last comes first, and what asks for a value that nobody gave comes last.
  std::vector<std::size_t> candidates(const std::vector<Policy>& policies,
                                      const Bytes& name) const {
    std::vector<std::size_t> order;
    for (std::size_t index = 0; index < policies.size(); ++index) {
      if (allows(policies[index], use_.command)) order.push_back(index);
    }
    // An empty value in the stead of one that nobody gave would count against the TPM's lockout.
    const auto asks = [&](std::size_t index) { return needs_value(policies[index]); };
    if (!use_.has_value && !std::ranges::all_of(order, asks)) std::erase_if(order, asks);
    const auto lacks_signature = [&](std::size_t index) { return !is_signed(policies[index]); };
    if (!std::ranges::all_of(order, lacks_signature)) std::erase_if(order, lacks_signature);
    std::stable_partition(order.begin(), order.end(),
                          [&](std::size_t index) { return has_secrets(policies[index]); });
    const auto last = session_.held_last_.find(name);
    if (last != session_.held_last_.end())
      std::stable_partition(order.begin(), order.end(),
                            [&](std::size_t index) { return index == last->second; });
    return order;
  }

  const core::Secret* value_of(const SecretStatement& statement) const noexcept {
    const core::Secret* const value = statement.value.get();
    return value == nullptr && statement.object == use_.parent ? use_.parent_value : value;
  }
  bool has_secrets(const Policy& policy) const {
    return std::ranges::all_of(policy.statements, [&](const Statement& statement) {
      if (const auto* const secret = std::get_if<SecretStatement>(&statement))
        return has_value(value_of(*secret));
      const auto* const one_of = std::get_if<OrStatement>(&statement);
      return one_of == nullptr || std::ranges::any_of(one_of->branches, [&](const Policy& branch) {
               return has_secrets(branch);
             });
    });
  }

  bool is_there(const Entity& object) {
    try {
      return commands_.read_public(object.handle).name == object.name;
    } catch (const TpmError& error) {
      if (is_tcti_error(error.rc)) throw;
      return false;
    }
  }

  // A session that is not ours any more looks like a wrong value.
  void require_session(const Authorization& auth) {
    if (auth.session == nullptr) return;
    try {
      commands_.get_random(1, auth.session);
    } catch (const TpmError& error) {
      if (is_tcti_error(error.rc)) throw;
      raise(TPM2_RC_REFERENCE_S0, "TPM2_PolicySecret", commands_.place());
    }
  }

  // Not the key's own value, for which the TPM's answer would be taken otherwise.
  [[noreturn]] void raise_refused(const SecretStatement& statement,
                                  const core::Secret* value) const {
    throw Error(has_value(value) ? Reason::kPinWrong : Reason::kPinMissing, "TPM_RC_BAD_AUTH",
                "TPM2_PolicySecret: TPM_RC_BAD_AUTH" + place_text(commands_.place()) + ": " +
                    asks_text(statement) +
                    (has_value(value) ? ", which is another one; correct it: "
                                      : ", and none was given; name it: ") +
                    source_text(statement));
  }
  std::string asks_text(const SecretStatement& statement) const {
    return use_.policy.origin + " asks for the auth value of " + hex(statement.object);
  }
  // Where the value is named: value_of.
  std::string source_text(const SecretStatement& statement) const {
    const bool is_parents = statement.value == nullptr && statement.object == use_.parent;
    return "secret-source in the policy's section of openssl.cnf (?policy=NAME in the URI)" +
           std::string(is_parents ? ", or parent-pin-source in the URI" : "");
  }

  // What may be empty is tried as a key's own value is: not where failures count already.
  void require_harmless(const SecretStatement& statement) {
    if (is_hierarchy(statement.object)) return;
    try {
      require_no_failures(commands_, asks_text(statement),
                          source_text(statement) +
                              "; or, if it has none, forgive the failures: hwid pin unblock tpm2:");
    } catch (const Error& error) {
      if (error.reason != Reason::kPinMissing || counts_failures(statement.object)) throw;
    }
  }
  bool counts_failures(TPM2_HANDLE object) {
    if (is_nv(object))
      return (commands_.nv_read_public(object).area.attributes & TPMA_NV_NO_DA) == 0;
    return (commands_.read_public(object).public_area.objectAttributes & TPMA_OBJECT_NODA) == 0;
  }

  const TPMT_SIGNATURE& signature_of(const Signer& signer, TPM2_CC command) const {
    if (signer.signature) return *signer.signature;
    throw Error(Reason::kBadConfiguration,
                command_text(command) + ":" + place_text(commands_.place()) + ": " +
                    use_.policy.origin + " asks for a signature, and none is given; name its file");
  }

  TPMT_TK_VERIFIED approval(const Signer& signer, const Bytes& approved) {
    const Loaded key(commands_, signer);
    const Bytes digest = SessionCrypto(crypto_, signer.key.publicArea.nameAlg)
                             .hash({approved_message(approved, signer.policy_ref)});
    try {
      return commands_.verify_signature(key.entity(), digest,
                                        signature_of(signer, TPM2_CC_PolicyAuthorize));
    } catch (const TpmError& error) {
      if (base_code(error.rc) != TPM2_RC_SIGNATURE) throw;
      raise(Reason::kNotPermitted, error.rc, error.call, commands_.place(),
            use_.policy.origin + " is not approved: the signature is not one of " +
                core::to_hex(approved) + " by the key that has to sign it; have this policy signed",
            error.where);
    }
  }

  PolicySession& session_;
  Commands& commands_;
  const Libcrypto& crypto_;
  const PolicySession::Use& use_;
  std::optional<Bytes> digest_;             // of what the TPM was told; nullopt: it depends on PCRs
  std::vector<const PcrStatement*> unmet_;  // of all policies that were tried
  bool asks_value_ = false;
};

bool PolicySession::evict_signer(Commands& commands) {
  if (!signer_) return false;
  commands.flush_if_there(std::exchange(signer_, std::nullopt)->handle);
  return true;
}

bool PolicySession::tell(Commands& commands, const Libcrypto& crypto, const Use& use) {
  Telling telling(*this, commands, crypto, use);
  telling.any_of_key(core::Bytes(core::as_bytes(use.policy.origin).begin(),
                                 core::as_bytes(use.policy.origin).end()));
  return telling.asks_value();
}

void raise_policy_failure(Commands& commands, const KeyPolicy& policy, const TpmError& error) {
  std::string found;
  for (const Policy& each : policy.alternatives) {
    for (const Statement& statement : each.statements) {
      const auto* const pcr = std::get_if<PcrStatement>(&statement);
      if (pcr == nullptr || !pcr->digest.empty() || !pcr->values.empty()) continue;
      found += (found.empty() ? "" : " ") + values_text(commands.pcr_read(pcr->pcrs));
    }
  }
  if (found.empty()) throw TpmError(error);
  raise(error.reason, error.rc, error.call, commands.place(),
        policy.origin + " does not hold: the PCRs are " + found +
            " and the key was made with others, which the policy does not name" + kNextStep,
        error.where);
}

}  // namespace hwid::tpm2
