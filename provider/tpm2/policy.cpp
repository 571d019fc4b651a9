#include "provider/tpm2/policy.h"

#include <tss2/tss2_mu.h>

#include <algorithm>
#include <array>

#include "provider/core/error.h"
#include "provider/tpm2/errors.h"
#include "provider/tpm2/public_area.h"
#include "provider/tpm2/session_crypto.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::ByteView;
using core::Libcrypto;

namespace {

Bytes marshal_selection(const TPML_PCR_SELECTION& pcrs) {
  Bytes bytes(sizeof pcrs + 8);
  std::size_t size = 0;
  check(Tss2_MU_TPML_PCR_SELECTION_Marshal(&pcrs, bytes.data(), bytes.size(), &size),
        "Tss2_MU_TPML_PCR_SELECTION_Marshal", {});
  bytes.resize(size);
  return bytes;
}

// Computes the digest as the TPM does (Part 3, 23.2.3 and each command).
class Extender {
 public:
  Extender(const Libcrypto& crypto, TPMI_ALG_HASH hash, const Bytes& digest)
      : crypto_(crypto), session_(crypto, hash), hash_(hash), digest_(digest) {}

  std::optional<Bytes> operator()(const PcrStatement& pcr) const {
    const std::optional<Bytes> wanted = wanted_digest(crypto_, hash_, pcr);
    if (!wanted) return std::nullopt;
    return session_.hash({digest_, code(TPM2_CC_PolicyPCR), marshal_selection(pcr.pcrs), *wanted});
  }
  std::optional<Bytes> operator()(const AuthValueStatement&) const {
    return session_.hash({digest_, code(TPM2_CC_PolicyAuthValue)});
  }
  std::optional<Bytes> operator()(const CommandStatement& statement) const {
    return session_.hash({digest_, code(TPM2_CC_PolicyCommandCode), code(statement.command)});
  }
  std::optional<Bytes> operator()(const SignedStatement& statement) const {
    return signed_by(digest_, TPM2_CC_PolicySigned, statement.signer);
  }
  std::optional<Bytes> operator()(const AuthorizeStatement& statement) const {
    return signed_by(zeros(), TPM2_CC_PolicyAuthorize, statement.signer);
  }
  std::optional<Bytes> operator()(const SecretStatement& statement) const {
    return update(digest_, TPM2_CC_PolicySecret, statement.name, statement.policy_ref);
  }
  std::optional<Bytes> operator()(const CounterTimerStatement& statement) const {
    const Bytes arguments = session_.hash(
        {statement.operand, two_bytes(statement.offset), two_bytes(statement.operation)});
    return session_.hash({digest_, code(TPM2_CC_PolicyCounterTimer), arguments});
  }
  std::optional<Bytes> operator()(const OrStatement& statement) const {
    Bytes all;
    for (const Policy& branch : statement.branches) {
      const std::optional<Bytes> digest = policy_digest(crypto_, hash_, branch);
      if (!digest) return std::nullopt;
      all.insert(all.end(), digest->begin(), digest->end());
    }
    for (const Bytes& digest : statement.digests)
      all.insert(all.end(), digest.begin(), digest.end());
    return session_.hash({zeros(), code(TPM2_CC_PolicyOR), all});
  }
  std::optional<Bytes> operator()(const PlainStatement& statement) const {
    return session_.hash({digest_, code(statement.command), statement.parameters});
  }

 private:
  static Bytes code(TPM2_CC command) { return handle_name(command); }
  Bytes zeros() const { return Bytes(session_.digest_size()); }
  static Bytes two_bytes(std::uint16_t number) {
    return {static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
  }
  Bytes update(const Bytes& before, TPM2_CC command, ByteView name, ByteView policy_ref) const {
    const Bytes first = session_.hash({before, code(command), name});
    return session_.hash({first, policy_ref});
  }
  Bytes signed_by(const Bytes& before, TPM2_CC command, const Signer& signer) const {
    return update(before, command, object_name(crypto_, signer.key.publicArea), signer.policy_ref);
  }

  const Libcrypto& crypto_;
  SessionCrypto session_;
  TPMI_ALG_HASH hash_;
  const Bytes& digest_;
};

}  // namespace

std::optional<Bytes> wanted_digest(const Libcrypto& crypto, TPMI_ALG_HASH hash,
                                   const PcrStatement& statement) {
  if (!statement.digest.empty()) return statement.digest;
  if (statement.values.empty()) return std::nullopt;
  return pcr_digest(crypto, hash, statement.values);
}

std::optional<Bytes> extended(const Libcrypto& crypto, TPMI_ALG_HASH hash, const Bytes& digest,
                              const Statement& statement) {
  return std::visit(Extender(crypto, hash, digest), statement);
}

std::optional<Bytes> policy_digest(const Libcrypto& crypto, TPMI_ALG_HASH hash,
                                   const Policy& policy) {
  std::optional<Bytes> digest = Bytes(hash_size(hash));
  for (const Statement& statement : policy.statements) {
    // What comes before a signature that replaces it all does not count.
    const bool starts_anew = std::holds_alternative<AuthorizeStatement>(statement);
    if (!digest && !starts_anew) continue;
    digest = extended(crypto, hash, digest.value_or(Bytes()), statement);
  }
  return digest;
}

bool allows(const Policy& policy, TPM2_CC command) {
  return std::ranges::all_of(policy.statements, [&](const Statement& statement) {
    if (const auto* const only = std::get_if<CommandStatement>(&statement))
      return only->command == command;
    const auto* const one_of = std::get_if<OrStatement>(&statement);
    return one_of == nullptr || std::ranges::any_of(one_of->branches, [&](const Policy& branch) {
             return allows(branch, command);
           });
  });
}

bool allows(const KeyPolicy& policy, TPM2_CC command) {
  return std::ranges::any_of(policy.alternatives,
                             [&](const Policy& each) { return allows(each, command); });
}

namespace {

void add_named(const Policy& policy, std::vector<std::string>& names) {
  for (const Statement& statement : policy.statements) {
    if (const auto* const only = std::get_if<CommandStatement>(&statement)) {
      const std::string name = command_text(only->command);
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    }
    if (const auto* const one_of = std::get_if<OrStatement>(&statement)) {
      for (const Policy& branch : one_of->branches) add_named(branch, names);
    }
  }
}

}  // namespace

std::string allowed_text(const KeyPolicy& policy) {
  std::vector<std::string> names;
  for (const Policy& each : policy.alternatives) add_named(each, names);
  return core::list_text(names);
}

bool asks_value(const Policy& policy) {
  return std::ranges::any_of(policy.statements, [](const Statement& statement) {
    const auto* const one_of = std::get_if<OrStatement>(&statement);
    return std::holds_alternative<AuthValueStatement>(statement) ||
           (one_of != nullptr && std::ranges::any_of(one_of->branches, asks_value));
  });
}

bool needs_value(const Policy& policy) {
  return std::ranges::any_of(policy.statements, [](const Statement& statement) {
    const auto* const one_of = std::get_if<OrStatement>(&statement);
    return std::holds_alternative<AuthValueStatement>(statement) ||
           (one_of != nullptr && std::ranges::all_of(one_of->branches, needs_value));
  });
}

bool is_signed(const Policy& policy) {
  return std::ranges::all_of(policy.statements, [](const Statement& statement) {
    if (const auto* const by = std::get_if<SignedStatement>(&statement))
      return by->signer.signature.has_value();
    if (const auto* const authorize = std::get_if<AuthorizeStatement>(&statement))
      return authorize->signer.signature.has_value();
    const auto* const one_of = std::get_if<OrStatement>(&statement);
    return one_of == nullptr || std::ranges::any_of(one_of->branches, is_signed);
  });
}

Bytes approved_message(ByteView approved, ByteView policy_ref) {
  Bytes message(approved.begin(), approved.end());
  message.insert(message.end(), policy_ref.begin(), policy_ref.end());
  return message;
}

Bytes signed_message(const SignedStatement& statement) {
  Bytes message = handle_name(static_cast<TPM2_HANDLE>(statement.expiration));
  const Bytes& policy_ref = statement.signer.policy_ref;
  message.insert(message.end(), policy_ref.begin(), policy_ref.end());
  return message;
}

// Every scheme of signatures has its hash first.
TPMI_ALG_HASH signature_hash(const TPMT_SIGNATURE& signature) noexcept {
  return signature.signature.any.hashAlg;
}

std::string command_text(TPM2_CC command) {
  constexpr std::pair<TPM2_CC, const char*> kNames[] = {
      {TPM2_CC_Sign, "TPM2_Sign"},
      {TPM2_CC_RSA_Decrypt, "TPM2_RSA_Decrypt"},
      {TPM2_CC_ECDH_ZGen, "TPM2_ECDH_ZGen"},
      {TPM2_CC_Duplicate, "TPM2_Duplicate"},
      {TPM2_CC_PolicyPCR, "TPM2_PolicyPCR"},
      {TPM2_CC_PolicyAuthValue, "TPM2_PolicyAuthValue"},
      {TPM2_CC_PolicyPassword, "TPM2_PolicyPassword"},
      {TPM2_CC_PolicyCommandCode, "TPM2_PolicyCommandCode"},
      {TPM2_CC_PolicySigned, "TPM2_PolicySigned"},
      {TPM2_CC_PolicyAuthorize, "TPM2_PolicyAuthorize"},
      {TPM2_CC_PolicyLocality, "TPM2_PolicyLocality"},
      {TPM2_CC_PolicyPhysicalPresence, "TPM2_PolicyPhysicalPresence"},
      {TPM2_CC_PolicySecret, "TPM2_PolicySecret"},
      {TPM2_CC_PolicyTicket, "TPM2_PolicyTicket"},
      {TPM2_CC_PolicyOR, "TPM2_PolicyOR"},
      {TPM2_CC_PolicyNV, "TPM2_PolicyNV"},
      {TPM2_CC_PolicyCounterTimer, "TPM2_PolicyCounterTimer"},
      {TPM2_CC_PolicyCpHash, "TPM2_PolicyCpHash"},
      {TPM2_CC_PolicyNameHash, "TPM2_PolicyNameHash"},
      {TPM2_CC_PolicyDuplicationSelect, "TPM2_PolicyDuplicationSelect"},
      {TPM2_CC_PolicyNvWritten, "TPM2_PolicyNvWritten"},
      {TPM2_CC_PolicyTemplate, "TPM2_PolicyTemplate"},
      {TPM2_CC_PolicyAuthorizeNV, "TPM2_PolicyAuthorizeNV"}};
  for (const auto& [code, name] : kNames) {
    if (code == command) return name;
  }
  return "command " + hex(command);
}

}  // namespace hwid::tpm2
