// Policies in a TSS2 PRIVATE KEY: policy.h.
#include <openssl/crypto.h>
#include <tss2/tss2_mu.h>

#include <algorithm>

#include "provider/core/error.h"
#include "provider/tpm2/errors.h"
#include "provider/tpm2/policy.h"
#include "provider/tpm2/public_area.h"
#include "provider/tpm2/session_crypto.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::ByteView;
using core::Error;
using core::Libcrypto;
using core::Reason;

namespace {

// What a file's description says of the values that PCRs are to have: a digest does not tell which
// one changed. parse_pcrs reads what follows.
constexpr char kPcrNote[] = "PCRs ";
constexpr char kNoteSeparator[] = "; ";  // between what the user wrote and that

[[noreturn]] void damaged(TPM2_CC command, const char* why) {
  throw Error(Reason::kBadReference,
              "TSS2 PRIVATE KEY: policy: " + command_text(command) + " " + why +
                  "; the file is damaged: write it again, or take it from a copy");
}

// Structures one behind the other, each as tss2-mu reads it.
class Parameters {
 public:
  explicit Parameters(ByteView bytes) : bytes_(bytes) {}
  bool at_end() const noexcept { return at_ == bytes_.size(); }

  template <typename T>
  std::optional<T> take(TSS2_RC (*unmarshal)(const std::uint8_t[], std::size_t, std::size_t*, T*)) {
    T value{};
    std::size_t at = at_;
    if (at_end() || unmarshal(bytes_.data(), bytes_.size(), &at, &value) != TSS2_RC_SUCCESS)
      return std::nullopt;
    at_ = at;
    return value;
  }
  std::optional<TPM2B_PUBLIC> take_public() {
    if (bytes_.size() - at_ < 2) return std::nullopt;
    const std::size_t size = 2 + (std::size_t{bytes_[at_]} << 8 | bytes_[at_ + 1]);
    if (size > bytes_.size() - at_) return std::nullopt;
    const std::optional<TPM2B_PUBLIC> area = unmarshal_public(bytes_.subspan(at_, size));
    if (area) at_ += size;
    return area;
  }
  Bytes take_rest() {
    const ByteView rest = bytes_.subspan(std::exchange(at_, bytes_.size()));
    return {rest.begin(), rest.end()};
  }

 private:
  ByteView bytes_;
  std::size_t at_ = 0;
};

Bytes bytes_of(const TPM2B_DIGEST& digest) { return {digest.buffer, digest.buffer + digest.size}; }

// A selection of more bytes than any TPM has would be read past its end.
bool is_sound(const TPML_PCR_SELECTION& pcrs) {
  return selected_pcrs(pcrs) != 0 &&
         std::all_of(pcrs.pcrSelections, pcrs.pcrSelections + pcrs.count,
                     [](const TPMS_PCR_SELECTION& bank) {
                       return bank.sizeofSelect <= sizeof bank.pcrSelect;
                     });
}

// The draft and GRUB write TPM2B_DIGEST and TPML_PCR_SELECTION, as the command has them;
// openssl_tpm2_engine the selection, and then the bare digest.
Statement pcr_statement(ByteView bytes, TPMI_ALG_HASH hash) {
  PcrStatement statement;
  Parameters as_command(bytes);
  if (const auto digest = as_command.take(Tss2_MU_TPM2B_DIGEST_Unmarshal)) {
    const auto pcrs = as_command.take(Tss2_MU_TPML_PCR_SELECTION_Unmarshal);
    if (pcrs && as_command.at_end() && is_sound(*pcrs)) {
      statement.pcrs = *pcrs;
      statement.digest = bytes_of(*digest);
      return statement;
    }
  }
  Parameters as_engine(bytes);
  const auto pcrs = as_engine.take(Tss2_MU_TPML_PCR_SELECTION_Unmarshal);
  if (!pcrs || !is_sound(*pcrs)) damaged(TPM2_CC_PolicyPCR, "has no selection of PCRs");
  statement.pcrs = *pcrs;
  statement.digest = as_engine.take_rest();
  if (statement.digest.size() != hash_size(hash))
    damaged(TPM2_CC_PolicyPCR, "has a digest of another length than the key's hash");
  return statement;
}

// TPM2B_PUBLIC of who signs, TPM2B_DIGEST policyRef, TPMT_SIGNATURE; without the last, or with one
// of no algorithm, where others have it.
Signer signer(ByteView bytes, TPM2_CC command) {
  Parameters parameters(bytes);
  Signer signer;
  const auto key = parameters.take_public();
  const auto policy_ref = parameters.take(Tss2_MU_TPM2B_DIGEST_Unmarshal);
  if (!key || !policy_ref)
    damaged(command, "does not hold who signs: TPM2B_PUBLIC, TPM2B_DIGEST, TPMT_SIGNATURE");
  signer.key = *key;
  signer.policy_ref = bytes_of(*policy_ref);
  if (const auto signature = parameters.take(Tss2_MU_TPMT_SIGNATURE_Unmarshal);
      signature && signature->sigAlg != TPM2_ALG_NULL)
    signer.signature = *signature;
  if (!parameters.at_end()) damaged(command, "has a signature of no known form");
  return signer;
}

// TPM_HANDLE, which may be 0 where the name says it all, TPM2B_NAME, TPM2B_DIGEST policyRef.
Statement secret_statement(ByteView bytes) {
  Parameters parameters(bytes);
  const auto handle = parameters.take(Tss2_MU_UINT32_Unmarshal);
  const auto name = parameters.take(Tss2_MU_TPM2B_NAME_Unmarshal);
  const auto policy_ref = parameters.take(Tss2_MU_TPM2B_DIGEST_Unmarshal);
  if (!handle || !name || !policy_ref || !parameters.at_end())
    damaged(TPM2_CC_PolicySecret,
            "does not hold whose value is asked: TPM_HANDLE, TPM2B_NAME, "
            "TPM2B_DIGEST");
  SecretStatement statement;
  statement.object = *handle;
  statement.name.assign(name->name, name->name + name->size);
  statement.policy_ref = bytes_of(*policy_ref);
  if (statement.object == 0 && statement.name.size() == sizeof(TPM2_HANDLE)) {
    for (const std::uint8_t byte : statement.name) statement.object = statement.object << 8 | byte;
  }
  const bool is_known = (is_hierarchy(statement.object) && statement.object != TPM2_RH_NULL) ||
                        statement.object >> TPM2_HR_SHIFT == TPM2_HT_PERSISTENT;
  if (!is_known)
    throw Error(
        Reason::kUnsupported,
        "TSS2 PRIVATE KEY: policy: TPM2_PolicySecret asks for the auth value of " +
            (statement.object == 0 ? "an object that only its name tells" : hex(statement.object)) +
            "; only those of persistent objects and of hierarchies, the null hierarchy excepted, "
            "are shown here: make a key for one of these");
  return statement;
}

// As the command has it, with TPM2B_OPERAND, or as openssl_tpm2_engine writes it, with the bare
// one.
Statement counter_timer_statement(ByteView bytes) {
  constexpr std::size_t kRest = 4;  // offset, operation
  CounterTimerStatement statement;
  Parameters as_command(bytes);
  if (const auto operand = as_command.take(Tss2_MU_TPM2B_DIGEST_Unmarshal)) {
    const auto offset = as_command.take(Tss2_MU_UINT16_Unmarshal);
    const auto operation = as_command.take(Tss2_MU_UINT16_Unmarshal);
    if (offset && operation && as_command.at_end()) {
      statement.operand = bytes_of(*operand);
      statement.offset = *offset;
      statement.operation = *operation;
      return statement;
    }
  }
  if (bytes.size() <= kRest || bytes.size() > kRest + sizeof(TPMU_HA))
    damaged(TPM2_CC_PolicyCounterTimer, "has no operand, offset and operation");
  const ByteView rest = bytes.last(kRest);
  statement.operand.assign(bytes.begin(), bytes.end() - kRest);
  statement.offset = static_cast<std::uint16_t>(rest[0] << 8 | rest[1]);
  statement.operation = static_cast<std::uint16_t>(rest[2] << 8 | rest[3]);
  return statement;
}

Statement statement_of(const PolicyStatement& written, TPMI_ALG_HASH hash) {
  const auto command = static_cast<TPM2_CC>(written.command);
  const ByteView bytes = written.parameters;
  switch (command) {
    case TPM2_CC_PolicyPCR:
      return pcr_statement(bytes, hash);
    case TPM2_CC_PolicyAuthValue:
    case TPM2_CC_PolicyPassword:
      if (!bytes.empty()) damaged(command, "has parameters");
      return AuthValueStatement{command == TPM2_CC_PolicyPassword};
    case TPM2_CC_PolicyCommandCode: {
      Parameters parameters(bytes);
      const auto code = parameters.take(Tss2_MU_UINT32_Unmarshal);
      if (!code || !parameters.at_end()) damaged(command, "has no command");
      return CommandStatement{*code};
    }
    case TPM2_CC_PolicySigned:
      return SignedStatement{signer(bytes, command)};
    case TPM2_CC_PolicyAuthorize:
      return AuthorizeStatement{signer(bytes, command)};
    case TPM2_CC_PolicySecret:
      return secret_statement(bytes);
    case TPM2_CC_PolicyCounterTimer:
      return counter_timer_statement(bytes);
    case TPM2_CC_PolicyLocality:
      if (bytes.size() != 1) damaged(command, "has no locality");
      return PlainStatement{command, written.parameters};
    case TPM2_CC_PolicyPhysicalPresence:
      if (!bytes.empty()) damaged(command, "has parameters");
      return PlainStatement{command, {}};
    case TPM2_CC_PolicyOR:
      throw Error(Reason::kUnsupported,
                  "TSS2 PRIVATE KEY: policy: it asks for TPM2_PolicyOR, which has no form in a key "
                  "file; name the policies in openssl.cnf (statements = or), and that one in the "
                  "URI: ?policy=NAME");
    default:
      throw Error(Reason::kUnsupported,
                  "TSS2 PRIVATE KEY: policy: it asks for " + command_text(command) +
                      ", which is not executed here; make a key with a policy of PCRs, auth value, "
                      "command code, signature or authorization");
  }
}

Policy policy_of(const std::vector<PolicyStatement>& written, TPMI_ALG_HASH hash) {
  Policy policy;
  for (const PolicyStatement& statement : written)
    policy.statements.push_back(statement_of(statement, hash));
  return policy;
}

bool begins_with_authorize(const Policy& policy) {
  return !policy.statements.empty() &&
         std::holds_alternative<AuthorizeStatement>(policy.statements.front());
}

// Who approves is written first, and told last.
Policy with_approval_last(const Policy& policy) {
  Policy turned = policy;
  std::rotate(turned.statements.begin(), turned.statements.begin() + 1, turned.statements.end());
  return turned;
}

Policy followed_by(Policy policy, const Policy& more, std::size_t from) {
  policy.statements.insert(policy.statements.end(),
                           more.statements.begin() + static_cast<std::ptrdiff_t>(from),
                           more.statements.end());
  return policy;
}

// What can be read; why the first of the others cannot.
struct Readings {
  std::vector<Policy> policies;
  std::optional<Error> error;

  Policy of(const std::vector<PolicyStatement>& written, TPMI_ALG_HASH hash) {
    try {
      return policy_of(written, hash);
    } catch (const Error& unreadable) {
      if (!error) error = unreadable;
      return {};
    }
  }
};

// What is of the key is what its digest says: in which order an approval is meant, and whether
// what the key's own policy asks for comes behind it, the format leaves to the reader.
Readings readings(const Tss2Key& key, TPMI_ALG_HASH hash) {
  Readings read;
  std::vector<Policy>& all = read.policies;
  const Policy own = read.of(key.policy, hash);
  for (const NamedPolicy& named : key.auth_policy) {
    const Policy approved = read.of(named.statements, hash);
    if (approved.statements.empty()) continue;
    std::vector<Policy> orders = {approved};
    if (begins_with_authorize(approved) && approved.statements.size() > 1)
      orders.push_back(with_approval_last(approved));
    for (const Policy& order : orders) {
      all.push_back(order);
      if (begins_with_authorize(own) && own.statements.size() > 1)
        all.push_back(followed_by(order, own, 1));
    }
  }
  if (!own.statements.empty()) all.push_back(own);
  if (begins_with_authorize(own) && own.statements.size() > 1)
    all.push_back(with_approval_last(own));
  return read;
}

struct NotedValues {
  std::size_t at;  // in the description
  WrittenPcrs pcrs;
};
// They stand at the end of a file's description, as put_policy writes them.
std::optional<NotedValues> noted_values(const std::string& description) {
  for (std::size_t at = description.find(kPcrNote); at != std::string::npos;
       at = description.find(kPcrNote, at + 1)) {
    if (at != 0 && !std::string_view(description).substr(0, at).ends_with(kNoteSeparator)) continue;
    const std::optional<WrittenPcrs> noted =
        parse_pcrs(description.substr(at + std::string_view(kPcrNote).size()));
    if (noted && !noted->values.empty()) return NotedValues{at, *noted};
  }
  return std::nullopt;
}

// The values that a file's description tells of, where they are those of the digest.
void add_values(const Libcrypto& crypto, TPMI_ALG_HASH hash, const std::string& description,
                Policy& policy) {
  const std::optional<NotedValues> found = noted_values(description);
  if (!found) return;
  const WrittenPcrs& noted = found->pcrs;
  for (Statement& statement : policy.statements) {
    auto* const pcr = std::get_if<PcrStatement>(&statement);
    if (pcr != nullptr && pcr_digest(crypto, hash, noted.values) == pcr->digest &&
        pcrs_text(noted.selection) == pcrs_text(pcr->pcrs))
      pcr->values = noted.values;
  }
}

Bytes marshal(const auto& value, auto* marshal_it, const char* call) {
  Bytes bytes(sizeof value + 16);
  std::size_t size = 0;
  check(marshal_it(&value, bytes.data(), bytes.size(), &size), call, {});
  bytes.resize(size);
  return bytes;
}

void append(Bytes& to, const Bytes& more) { to.insert(to.end(), more.begin(), more.end()); }

Bytes sized(ByteView bytes) {
  Bytes out = {static_cast<std::uint8_t>(bytes.size() >> 8),
               static_cast<std::uint8_t>(bytes.size())};
  out.insert(out.end(), bytes.begin(), bytes.end());
  return out;
}

Bytes written_signer(const Signer& signer) {
  Bytes bytes = marshal_public(signer.key);
  append(bytes, sized(signer.policy_ref));
  TPMT_SIGNATURE signature{};
  signature.sigAlg = TPM2_ALG_NULL;
  if (signer.signature) signature = *signer.signature;
  append(bytes,
         marshal(signature, &Tss2_MU_TPMT_SIGNATURE_Marshal, "Tss2_MU_TPMT_SIGNATURE_Marshal"));
  return bytes;
}

[[noreturn]] void no_form(const char* what) {
  throw Error(Reason::kUnsupported,
              std::string("TSS2 PRIVATE KEY: policy: ") + what +
                  " has no form in a key file; make the key persistent, and name its policy in "
                  "openssl.cnf");
}

struct Writer {
  const Libcrypto& crypto;
  TPMI_ALG_HASH hash;

  PolicyStatement operator()(const PcrStatement& pcr) const {
    const std::optional<Bytes> digest = wanted_digest(crypto, hash, pcr);
    if (!digest) no_form("TPM2_PolicyPCR without the values of the PCRs");
    Bytes bytes = sized(*digest);
    append(bytes, marshal(pcr.pcrs, &Tss2_MU_TPML_PCR_SELECTION_Marshal,
                          "Tss2_MU_TPML_PCR_SELECTION_Marshal"));
    return {TPM2_CC_PolicyPCR, bytes};
  }
  PolicyStatement operator()(const AuthValueStatement& statement) const {
    return {statement.password ? TPM2_CC_PolicyPassword : TPM2_CC_PolicyAuthValue, {}};
  }
  PolicyStatement operator()(const CommandStatement& statement) const {
    Bytes code;
    for (int shift = 24; shift >= 0; shift -= 8)
      code.push_back(static_cast<std::uint8_t>(statement.command >> shift));
    return {TPM2_CC_PolicyCommandCode, code};
  }
  PolicyStatement operator()(const SignedStatement& statement) const {
    if (statement.expiration != 0) no_form("an expiration");
    return {TPM2_CC_PolicySigned, written_signer(statement.signer)};
  }
  PolicyStatement operator()(const AuthorizeStatement& statement) const {
    return {TPM2_CC_PolicyAuthorize, written_signer(statement.signer)};
  }
  PolicyStatement operator()(const SecretStatement& statement) const {
    Bytes bytes = handle_name(statement.object);
    append(bytes, sized(statement.name));
    append(bytes, sized(statement.policy_ref));
    return {TPM2_CC_PolicySecret, bytes};
  }
  PolicyStatement operator()(const CounterTimerStatement& statement) const {
    Bytes bytes = sized(statement.operand);
    for (const std::uint16_t number : {statement.offset, statement.operation}) {
      bytes.push_back(static_cast<std::uint8_t>(number >> 8));
      bytes.push_back(static_cast<std::uint8_t>(number));
    }
    return {TPM2_CC_PolicyCounterTimer, bytes};
  }
  PolicyStatement operator()(const OrStatement&) const { no_form("TPM2_PolicyOR"); }
  PolicyStatement operator()(const PlainStatement& statement) const {
    return {statement.command, statement.parameters};
  }
};

}  // namespace

namespace {

std::vector<Policy> usable_policies(const Libcrypto& crypto, const Tss2Key& key) {
  const TPMT_PUBLIC& area = key.public_area.publicArea;
  const Bytes wanted = bytes_of(area.authPolicy);
  std::vector<Policy> usable;
  std::string seen;
  bool lacks_signature = false;
  Readings read = readings(key, area.nameAlg);
  for (Policy& policy : read.policies) {
    const std::optional<Bytes> digest = policy_digest(crypto, area.nameAlg, policy);
    if (digest && digest != wanted) {
      seen = core::to_hex(*digest);
    } else if (!is_signed(policy)) {
      lacks_signature = true;
    } else {
      add_values(crypto, area.nameAlg, key.description, policy);
      usable.push_back(std::move(policy));
    }
  }
  if (!usable.empty()) return usable;
  if (read.error) throw Error(*read.error);
  if (lacks_signature)
    throw Error(
        Reason::kBadReference,
        "TSS2 PRIVATE KEY: policy: it asks for a signature (TPM2_PolicyAuthorize, "
        "TPM2_PolicySigned), and none is in the file; add the signed policy to the file, or "
        "name it: ?policy=NAME in the URI");
  throw Error(Reason::kBadReference,
              "TSS2 PRIVATE KEY: policy: it has the digest " + seen + " and the key asks for " +
                  core::to_hex(wanted) +
                  "; the file is damaged, or was put together wrongly: write it again");
}

}  // namespace

std::shared_ptr<const KeyPolicy> policy_of_file(const Libcrypto& crypto, const Tss2Key& key) {
  auto made = std::make_shared<KeyPolicy>();
  made->hash = key.public_area.publicArea.nameAlg;
  made->origin = "the policy in the key's file";
  try {
    made->alternatives = usable_policies(crypto, key);
  } catch (const Error& error) {
    made->problem = error;
  }
  return made;
}

// An approval may be given anew: what was approved stands in the authPolicy, behind who approves.
void put_policy(const Libcrypto& crypto, TPMI_ALG_HASH hash, const Policy& policy, Tss2Key& key) {
  const Writer writer{crypto, hash};
  std::vector<PolicyStatement> all;
  for (const Statement& statement : policy.statements) {
    const auto* const authorize = std::get_if<AuthorizeStatement>(&statement);
    if (authorize == nullptr) {
      all.push_back(std::visit(writer, statement));
      continue;
    }
    if (authorize->signer.signature) {
      all.insert(all.begin(), writer(*authorize));
      key.auth_policy.push_back({{}, std::move(all)});
    }
    AuthorizeStatement open = *authorize;
    open.signer.signature.reset();
    all = {writer(open)};
  }
  key.policy = std::move(all);
  for (const Statement& statement : policy.statements) {
    const auto* const pcr = std::get_if<PcrStatement>(&statement);
    if (pcr == nullptr || pcr->values.empty()) continue;
    key.description +=
        (key.description.empty() ? "" : kNoteSeparator) + (kPcrNote + values_text(pcr->values));
    break;
  }
}

std::string without_values(const std::string& description) {
  const std::optional<NotedValues> noted = noted_values(description);
  if (!noted) return description;
  const std::size_t separator = std::string_view(kNoteSeparator).size();
  return description.substr(0, noted->at >= separator ? noted->at - separator : 0);
}

}  // namespace hwid::tpm2
