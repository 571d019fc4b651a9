// What makes and removes keys: token.h.
#include <algorithm>
#include <array>

#include "provider/tpm2/session_crypto.h"
#include "provider/tpm2/token.h"

namespace hwid::tpm2 {

using core::Access;
using core::Bytes;
using core::ByteView;
using core::Error;
using core::KeyDescription;
using core::KeyUri;
using core::NamedObject;
using core::Object;
using core::ObjectClass;
using core::Reason;
using core::Secret;

namespace {

// A new key gets the auth value that it will be opened with.
std::optional<Secret> unasked(core::PinChain pins) {
  pins.prompt = nullptr;
  return pins.obtain({});
}

// The TPM says of a type of key that it does not make only that it does not take a value of the
// template.
template <typename Create>
CreatedObject naming_type(const core::KeySpec& spec, const Place& place, Create create) {
  constexpr TSS2_RC kOfTemplate = TPM2_RC_P | TPM2_RC_2;
  constexpr std::array<TSS2_RC, 4> kTypes = {TPM2_RC_ASYMMETRIC, TPM2_RC_VALUE, TPM2_RC_KEY_SIZE,
                                             TPM2_RC_CURVE};
  try {
    return create();
  } catch (const TpmError& error) {
    const bool of_template = (error.rc & (TPM2_RC_P | TPM2_RC_N_MASK)) == kOfTemplate;
    if (!of_template || std::ranges::find(kTypes, base_code(error.rc)) == kTypes.end()) throw;
    raise(Reason::kUnsupported, error.rc, error.call, place,
          "this TPM makes no keys of " + core::spec_text(spec) +
              "; choose another type, such as EC P-256 or RSA 2048");
  }
}

}  // namespace

std::optional<TPM2_HANDLE> Token::place_for(const core::KeySpec& spec) const {
  std::optional<TPM2_HANDLE> handle = spec.persistent_at;
  if (!handle && !spec.label.empty()) {
    const auto named = std::ranges::find(objects_, spec.label, &NamedObject::name);
    if (named == objects_.end() || !named->handle)
      throw Error(Reason::kBadConfiguration,
                  "TPM2_Create:" + place_text(device_->tpm().place(spec.label)) +
                      ": the name has no handle; add " + spec.label +
                      "=0x81000002 to `objects`, or leave object= out for a key in a file");
    handle = named->handle;
  }
  constexpr TPM2_HANDLE kLastOfOwner = TPM2_PLATFORM_PERSISTENT - 1;
  if (handle && (*handle < TPM2_PERSISTENT_FIRST || *handle > kLastOfOwner))
    throw Error(Reason::kBadParameter,
                "TPM2_EvictControl:" + place_text(device_->tpm().place(hex(*handle))) +
                    ": a key is made persistent at 0x81000000 to "
                    "0x817fffff; choose a handle there");
  return handle;
}

// Before the TPM makes an RSA key for nothing.
void Token::require_place(TPM2_HANDLE handle, const Secret* owner_value, const Access& access) {
  const Caller caller = caller_of(access);
  device_->tpm().require_owner_value(caller, owner_value, handle);
  const std::vector<TPM2_HANDLE> taken = device_->tpm().handles(caller, handle);
  if (!taken.empty() && taken.front() == handle)
    throw Error(Reason::kExists, "TPM_RC_NV_DEFINED",
                "TPM2_EvictControl: TPM_RC_NV_DEFINED" +
                    place_text(device_->tpm().place(hex(handle))) +
                    ": a key is there; choose another handle, or remove it first: "
                    "hwid delete 'tpm2:handle=" +
                    hex(handle) + "'");
}

std::shared_ptr<const core::Key> Token::generate(const core::KeySpec& spec, const Access& access) {
  if (spec.in_session)
    throw Error(Reason::kUnsupported,
                "TPM2_Create:" + place_text(device_->tpm().place(spec.label)) +
                    ": a TPM has no keys of sessions; leave pkcs11_ephemeral and the handle out, "
                    "and the key is in the program only");
  const std::optional<TPM2_HANDLE> handle = place_for(spec);
  if (access.audit == nullptr) return generate_at(handle, spec, access);
  const std::string token = label();
  const std::string name = spec.label.empty() && handle ? hex(*handle) : spec.label;
  const std::string mechanism = core::spec_text(spec);
  return core::audited(access.audit,
                       {.operation = core::audit_field::kGenerate,
                        .backend = "tpm2",
                        .token = token,
                        .object = name,
                        .mechanism = mechanism},
                       [&] { return generate_at(handle, spec, access); });
}

namespace {

// A key with a signature that is not valid could not be used.
void require_signatures(Tpm& tpm, const Caller& caller, const std::string& origin,
                        const Policy& policy) {
  const auto require = [&](TPM2_CC command, const Signer& signer, const Bytes& message,
                           TPMI_ALG_HASH hash) {
    const Bytes digest = SessionCrypto(caller.crypto, hash).hash({message});
    if (tpm.verifies(caller, signer.key, digest, *signer.signature)) return;
    throw Error(Reason::kBadConfiguration,
                command_text(command) + ":" + place_text(tpm.place()) + ": " + origin +
                    ": the signature is not one of " + core::to_hex(message) + " with " +
                    bank_text(hash) +
                    " by the key that has to sign it; sign that with the key "
                    "and this digest");
  };
  Bytes digest(hash_size(TPM2_ALG_SHA256));
  for (const Statement& statement : policy.statements) {
    if (const auto* const by = std::get_if<SignedStatement>(&statement);
        by != nullptr && by->signer.signature)
      require(TPM2_CC_PolicySigned, by->signer, signed_message(*by),
              signature_hash(*by->signer.signature));
    if (const auto* const by = std::get_if<AuthorizeStatement>(&statement);
        by != nullptr && by->signer.signature)
      require(TPM2_CC_PolicyAuthorize, by->signer, approved_message(digest, by->signer.policy_ref),
              by->signer.key.publicArea.nameAlg);
    if (const auto* const one_of = std::get_if<OrStatement>(&statement)) {
      for (const Policy& branch : one_of->branches) require_signatures(tpm, caller, origin, branch);
    }
    digest = extended(caller.crypto, TPM2_ALG_SHA256, digest, statement).value();
  }
}

// The PCRs of which no value is given are to stay what they are now, also those that an
// authorization among several policies is for.
void fill_in_pcrs(Tpm& tpm, const Caller& caller, Policy& policy) {
  for (Statement& statement : policy.statements) {
    auto* const pcr = std::get_if<PcrStatement>(&statement);
    if (pcr != nullptr && pcr->values.empty()) pcr->values = tpm.pcr_read(caller, pcr->pcrs);
    auto* const one_of = std::get_if<OrStatement>(&statement);
    if (one_of == nullptr) continue;
    for (Policy& branch : one_of->branches) fill_in_pcrs(tpm, caller, branch);
  }
}

}  // namespace

Token::NewPolicy Token::new_policy(const core::KeySpec& spec, const Access& access) const {
  NewPolicy made;
  PolicySource source;
  if (!spec.policy.empty()) {
    source = policy_named(spec.policy, access);
    if (!has_policy(source.setting))
      throw Error(Reason::kBadConfiguration,
                  "TPM2_Create:" + place_text(device_->tpm().place(spec.label)) + ": policy " +
                      spec.policy +
                      ": there is none of that name; add it to the section that `policies` of the "
                      "TPM's section names");
  } else if (!spec.policy_settings.empty()) {
    const auto setting = [&](const std::string& key) -> std::optional<std::string> {
      const auto found = spec.policy_settings.find(key);
      if (found == spec.policy_settings.end()) return std::nullopt;
      return found->second;
    };
    source = {setting, policies_, "the new key's policy", &access.log};
  } else {
    return made;
  }
  Policy policy = read_policy(access.crypto, TPM2_ALG_SHA256, source);
  fill_in_pcrs(device_->tpm(), caller_of(access), policy);
  require_signatures(device_->tpm(), caller_of(access), source.origin, policy);
  made.digest = policy_digest(access.crypto, TPM2_ALG_SHA256, policy).value();
  made.settings = settings_text(source, policy);
  auto key_policy = std::make_shared<KeyPolicy>();
  key_policy->origin = source.origin;
  key_policy->alternatives.push_back(std::move(policy));
  made.policy = std::move(key_policy);
  return made;
}

namespace {

// Such a key could never be used.
void require_its_command(const KeyPolicy& policy, const TPMT_PUBLIC& wanted, const Place& place) {
  const bool is_ec = wanted.type == TPM2_ALG_ECC;
  const TPM2_CC own = is_ec ? TPM2_CC_ECDH_ZGen : TPM2_CC_RSA_Decrypt;
  const TPM2_CC foreign = is_ec ? TPM2_CC_RSA_Decrypt : TPM2_CC_ECDH_ZGen;
  if (!allows(policy, foreign) || allows(policy, TPM2_CC_Sign) || allows(policy, own)) return;
  throw Error(Reason::kBadParameter,
              "TPM2_Create:" + place_text(place) + ": " + policy.origin + " allows only " +
                  command_text(foreign) + ", which is no command for an " + (is_ec ? "EC" : "RSA") +
                  " key; allow " + (is_ec ? "ecdh-zgen" : "rsa-decrypt") + " or sign");
}

}  // namespace

std::shared_ptr<const core::Key> Token::generate_at(const std::optional<TPM2_HANDLE>& handle,
                                                    const core::KeySpec& spec,
                                                    const Access& access) {
  const Caller caller = caller_of(access);
  const NewPolicy opens = new_policy(spec, access);
  const bool takes_value =
      !opens.policy || std::ranges::any_of(opens.policy->alternatives, asks_value);
  KeySecrets secrets;
  if (takes_value)
    secrets.value = spec.auth ? std::optional(spec.auth->clone()) : unasked(access.pins);
  if (spec.auth && !takes_value)
    throw Error(Reason::kBadParameter,
                "TPM2_Create:" + place_text(device_->tpm().place(spec.label)) +
                    ": an auth value is given that the key's policy does not ask for; add "
                    "auth-value to the policy, or leave it out");
  secrets.parent_value =
      spec.parent_auth ? std::optional(spec.parent_auth->clone()) : parent_value(access);
  const Secret* const value = secrets.value ? &*secrets.value : nullptr;
  const Secret* const of_parent = secrets.parent_value ? &*secrets.parent_value : nullptr;
  Parent parent;
  parent.handle = spec.parent ? *spec.parent : parent_.value_or(TPM2_RH_OWNER);
  const Secret* of_owner = spec.owner_auth.get();
  if (of_owner == nullptr && parent.handle == TPM2_RH_OWNER) of_owner = of_parent;
  if (handle) require_place(*handle, of_owner, access);
  const TPMT_PUBLIC wanted =
      key_template(spec, spec.digest, has_value(value), opens.digest).publicArea;
  if (opens.policy) require_its_command(*opens.policy, wanted, device_->tpm().place(spec.label));
  const CreatedObject made = naming_type(spec, device_->tpm().place(spec.label), [&] {
    return device_->tpm().create(caller, parent, {nullptr, of_parent, device_->protects(false)},
                                 value, wanted);
  });
  Tss2Key file;
  file.empty_auth = !has_value(value);
  file.description = spec.label;
  file.parent = parent.handle;
  file.public_area = made.public_area;
  file.private_area = made.private_area;
  if (opens.policy && !handle)
    put_policy(access.crypto, TPM2_ALG_SHA256, opens.policy->alternatives.front(), file);
  Found found = from_tss2(file, spec.label, access);
  found.ref.policy = opens.policy;
  KeyDescription description{"tpm2", label(), spec.label, {}, {}};
  description.traits = traits_text(found.area);
  description.policy = opens.settings;
  if (!handle)
    return std::make_shared<Key>(device_, caller, std::move(found.ref), found.area,
                                 std::move(description), std::move(secrets), std::move(found.tss2),
                                 made.creation);
  device_->tpm().persist(caller, found.ref, {value, of_parent, device_->protects(false)}, of_owner,
                         *handle);
  secrets.parent_value.reset();
  if (description.label.empty()) description.label = hex(*handle);
  description.uri = "tpm2:handle=" + core::handle_text(*handle);
  KeyRef there{*handle, nullptr, found.ref.name, description.label, opens.policy};
  return std::make_shared<Key>(device_, caller, std::move(there), found.area,
                               std::move(description), std::move(secrets), Bytes(), made.creation);
}

// As `hwid generate` numbers them: below are what systems make for all (a storage key at
// 0x81000001, as a rule), above are endorsement keys (TCG's "Registry of Reserved TPM 2.0
// Handles", 2.3).
std::optional<std::uint32_t> Token::free_place(const Access& access) {
  constexpr TPM2_HANDLE kFirst = 0x81000002;
  constexpr TPM2_HANDLE kEnd = 0x81010000;
  std::vector<TPM2_HANDLE> taken = device_->tpm().handles(caller_of(access), kFirst);
  for (const NamedObject& object : objects_) {
    if (object.handle) taken.push_back(*object.handle);
  }
  if (parent_) taken.push_back(*parent_);
  for (TPM2_HANDLE handle = kFirst; handle < kEnd; ++handle) {
    if (std::ranges::find(taken, handle) == taken.end()) return handle;
  }
  throw Error(Reason::kExists, "TPM2_GetCapability:" + place_text(device_->tpm().place()) +
                                   ": every handle from " + hex(kFirst) + " to " + hex(kEnd - 1) +
                                   " is taken; remove a key that is not needed");
}

void Token::end_lockout(const Secret* lockout_auth, const Access& access) {
  device_->tpm().end_lockout(caller_of(access), lockout_auth);
}

TPM2_HANDLE Token::removable_handle(const KeyUri& uri) const {
  const auto refuse = [&](Reason reason, const std::string& why) {
    throw Error(reason, "TPM2_EvictControl:" + place_text(device_->tpm().place()) + ": " +
                            uri.text() + ": " + why);
  };
  const std::optional<std::uint32_t> handle = uri.handle()   ? uri.handle()
                                              : uri.object() ? require_named(uri).handle
                                                             : std::nullopt;
  if (!handle)
    refuse(
        Reason::kBadUri,
        "it names no handle; name one (tpm2:handle=0x81000002, tpm2:nv=0x1800001), or delete the "
        "key's file");
  if (core::handle_kind(*handle) != core::HandleKind::kPersistent)
    refuse(Reason::kBadUri, hex(*handle) +
                                " is not persistent; keys are removed from 0x81000000 to "
                                "0x817fffff");
  if (*handle >= TPM2_PLATFORM_PERSISTENT)
    refuse(Reason::kNotPermitted,
           hex(*handle) + " belongs to the platform, and the owner cannot remove it");
  if (parent_ == handle)
    refuse(Reason::kNotPermitted,
           "it is the configured `parent`, without which the keys below it are lost; take `parent` "
           "out of openssl.cnf first");
  return *handle;
}

std::optional<Secret> Token::owner_value(const core::Removal& what, const Access& access) const {
  if (what.owner_auth) return what.owner_auth->clone();
  return owner_value(access);
}

// What the program has seen at the handle is what goes, and nothing that came there since.
std::vector<Object> Token::remove(const KeyUri& uri, const core::Removal& what,
                                  const Access& access) {
  if (const auto index = nv_index(uri)) return remove_nv(*index, uri, what, access);
  const TPM2_HANDLE handle = removable_handle(uri);
  const Caller caller = caller_of(access);
  const std::optional<Secret> owner = owner_value(what, access);
  const Secret* const value = owner ? &*owner : nullptr;
  Found found = at_handle(handle, uri.object().value_or(core::handle_text(handle)), access);
  const bool key = is_key(found.area);
  std::vector<NvFound> beside;
  if (key && what.certificate) beside = removable_beside(found, !what.private_key, value, access);
  if (!beside.empty() && !what.private_key)
    return remove_indexes(std::move(beside), value, "a certificate is left", access);
  std::vector<Object> removed;
  if (!(key ? what.private_key : what.other))
    throw Error(Reason::kNoObject,
                "TPM2_EvictControl:" + place_text(device_->tpm().place()) + ": " + uri.text() +
                    ": what is there is " + (key ? "a private key" : kind_text(found.area)) +
                    ", which was not to be removed; " +
                    (key ? "name it with type=private or without type=, and without --other"
                         : "take it with `hwid delete --other`, or correct the URI"));
  device_->tpm().require_owner_value(caller, value, handle);
  device_->tpm().remove_persistent(caller, handle, found.ref.name, value);
  device_->forget();
  Object gone = make_other(found, "tpm2:handle=" + core::handle_text(handle));
  if (key) gone.object_class = ObjectClass::kPrivateKey;
  if (key) gone.description.traits = traits_text(found.area);
  removed.push_back(std::move(gone));
  std::ranges::move(remove_indexes(std::move(beside), value,
                                   "the key is removed, and a certificate of it is left", access),
                    std::back_inserter(removed));
  return removed;
}

}  // namespace hwid::tpm2
