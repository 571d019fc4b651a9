#include "provider/tpm2/residency.h"

#include "provider/tpm2/public_area.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::Reason;
using core::Secret;

namespace {

TPMT_PUBLIC template_of(const Parent& parent) {
  return parent.primary ? *parent.primary : storage_template(StorageKey::kP256).publicArea;
}

// A template by its bytes, below its hierarchy.
Bytes primary_id(TPM2_HANDLE hierarchy, const TPMT_PUBLIC& wanted) {
  Bytes id = handle_name(hierarchy);
  const Bytes area = marshal_public({0, wanted});
  id.insert(id.end(), area.begin(), area.end());
  return id;
}

// The cause, where the TPM refused the parent itself: commands below it have no other handle. The
// table of codes speaks of the key.
std::string cause_in_parent(TSS2_RC rc, TPM2_HANDLE parent) {
  const std::string subject = "the key's parent (" + hex(parent) + ") ";
  switch (base_code(rc)) {
    case TPM2_RC_HANDLE:
      return subject +
             "is not in the TPM; list what is there (tpm2_getcap handles-persistent), and put the "
             "parent back, or name the one that the key was made below";
    case TPM2_RC_TYPE:
      return subject + "is no storage key; name the parent that the key was made below";
    case TPM2_RC_AUTH_UNAVAILABLE:
      return subject +
             "cannot be used with an auth value, only by a policy of its own, as endorsement keys "
             "are; use a key below a storage key that has userWithAuth";
    default:
      return {};
  }
}

}  // namespace

// A loaded object that is flushed at the end of its scope.
class Residency::Transient {
 public:
  Transient(Commands& commands, TPM2_HANDLE handle) noexcept
      : commands_(commands), handle_(handle) {}
  Transient(const Transient&) = delete;
  Transient& operator=(const Transient&) = delete;
  ~Transient() {
    try {
      commands_.flush(handle_);
    } catch (const std::exception&) {
      // It is gone already, or the connection is, which the next command will say.
    }
  }

 private:
  Commands& commands_;
  TPM2_HANDLE handle_;
};

Residency::Ready Residency::prepare(Commands& commands, const KeyRef& key, const KeyAuth& auth) {
  require_salt_key(commands);
  const bool wants_session = needs_session(auth);
  const auto authorization = [&] {
    if (auth.policy == nullptr)
      return this->authorization(commands, nullptr, auth.value, auth.protect);
    if (wants_session) session(commands, nullptr);
    return Authorization();
  };
  if (auth.policy != nullptr && !has_policy_session(auth))
    start_policy_session(commands, key, auth);
  if (!key.blob) return {{key.persistent, key.name}, authorization(), 0};
  const bool is_loaded = resident_ && resident_->key.name == key.name;
  if (is_loaded && (session_ || !wants_session))
    return {resident_->key, authorization(), resident_->generation};
  evict(commands);
  resident_ = Resident{load(commands, key, auth, wants_session), ++generations_};
  return {resident_->key, authorization(), resident_->generation};
}

Entity Residency::load(Commands& commands, const KeyRef& key, const KeyAuth& auth, bool session) {
  const KeyBlob& blob = *key.blob;
  Entity loaded;
  const WithParent load = [&](const Entity& there, const Authorization& parent_auth) {
    loaded = commands.load(there, parent_auth, blob.public_area,
                           private_area(commands, key, there, parent_auth), key.name);
  };
  if (!load_below_twin(commands, blob.parent, session, load))
    with_parent(commands, blob.parent, auth.parent_value, session, load);
  return loaded;
}

// What is started may need a slot for what salts it: before the key takes one.
void Residency::with_second(Commands& commands, const KeyRef& key, const KeyAuth& auth,
                            const WithKey& body) {
  std::optional<AuthSession> own;
  std::optional<Transient> ends;
  Authorization shown{nullptr, auth.value, in_clear_};
  if (!in_clear_ && has_value(auth.value)) {
    own = salted_session(commands, {}, nullptr);
    ends.emplace(commands, own->handle);
    shown.session = &*own;
  }
  if (!key.blob) {
    body({key.persistent, key.name}, shown);
    return;
  }
  if (resident_ && resident_->key.name == key.name) {
    body(resident_->key, shown);
    return;
  }
  const Entity loaded = load(commands, key, auth, false);
  const Transient flushed(commands, loaded.handle);
  body(loaded, shown);
}

// Its templates are used by the policy that the endorsement hierarchy's auth value is shown (TCG EK
// Credential Profile, B.3), unless they have userWithAuth: then by their own, which is empty.
void Residency::with_endorsement_key(Commands& commands, const EkRef& key,
                                     const Secret* endorsement_value,
                                     const WithEndorsementKey& body) {
  AuthSession* const hides = in_clear_ ? nullptr : &session(commands, nullptr);
  const auto use = [&](const Entity& there) {
    if ((key.area.objectAttributes & TPMA_OBJECT_USERWITHAUTH) != 0) {
      body(there, {}, hides);
      return;
    }
    AuthSession policy = commands.start_session({TPM2_SE_POLICY, key.area.nameAlg});
    const Transient ends(commands, policy.handle);
    commands.policy_secret({TPM2_RH_ENDORSEMENT, handle_name(TPM2_RH_ENDORSEMENT)},
                           authorization(commands, nullptr, endorsement_value), policy.handle, {});
    Authorization shown;
    shown.policy = &policy;
    body(there, shown, hides);
  };
  if (key.persistent != 0) {
    use({key.persistent, key.name});
    return;
  }
  LoadedObject primary;
  const Transient loaded =
      load_primary(commands, {TPM2_RH_ENDORSEMENT, std::make_shared<const TPMT_PUBLIC>(key.wanted)},
                   endorsement_value, primary);
  if (primary.entity.name != key.name)
    throw core::Error(Reason::kKeyChanged,
                      "TPM2_CreatePrimary:" + place_text(commands.place()) +
                          ": the TPM made another endorsement key than before: it was given a new "
                          "seed; begin anew with `hwid attest request`");
  use(primary.entity);
}

namespace {

// By the parameter that the TPM blames (Part 3, 13.3): the table of codes speaks of digests.
[[noreturn]] void raise_import_failure(const TpmError& error, const Place& place,
                                       TPM2_HANDLE parent) {
  constexpr TSS2_RC kOfDuplicate = TPM2_RC_P | TPM2_RC_3;
  constexpr TSS2_RC kOfSeed = TPM2_RC_P | TPM2_RC_4;
  const TSS2_RC code = base_code(error.rc);
  const TSS2_RC blamed =
      (code & TPM2_RC_FMT1) != 0 ? error.rc & (TPM2_RC_P | TPM2_RC_N_MASK) : TSS2_RC{0};
  // A seed for a parent of another kind is no ciphertext to this one; one for another RSA key is,
  // with bad padding, which some TPMs call a failure of their own.
  const bool is_failure = code == TPM2_RC_FAILURE;
  if (blamed == kOfSeed || is_failure)
    raise(Reason::kNoObject, error.rc, error.call, place,
          "the key was not wrapped for this parent (" + hex(parent) +
              "), or its seed is damaged; name the parent that it was wrapped for, or wrap it "
              "again" +
              (is_failure ? " (if every command answers this, start the TPM anew)" : ""),
          error.where);
  if (blamed != kOfDuplicate || code == TPM2_RC_INTEGRITY) throw TpmError(error);
  // The outer wrapper was opened, and what is inside is no private half of the key.
  if (code == TPM2_RC_KEY_SIZE)
    raise(Reason::kBadReference, error.rc, error.call, place,
          "the seed that is wrapped with the private key is not as long as the key's name digest; "
          "wrap the key for a parent with that name digest (SHA256 is usual), or make the key with "
          "the parent's",
          error.where);
  raise(Reason::kBadReference, error.rc, error.call, place,
        "what is wrapped is not the key's private half as the TPM reads it: it is damaged, or has "
        "an inner wrapper, whose key the file does not have; wrap it without one (tpm2_duplicate "
        "-G null), or import it with tpm2_import, and name its handle",
        error.where);
}

}  // namespace

// Imported once a connection.
const TPM2B_PRIVATE& Residency::private_area(Commands& commands, const KeyRef& key,
                                             const Entity& parent, const Authorization& auth) {
  if (key.blob->seed.size == 0) return key.blob->private_area;
  const auto known = imported_.find(key.name);
  if (known != imported_.end()) return known->second;
  try {
    return imported_[key.name] = commands.import(parent, auth, key.blob->public_area,
                                                 key.blob->private_area, key.blob->seed);
  } catch (const TpmError& error) {
    raise_import_failure(error, commands.place(), key.blob->parent.handle);
  }
}

// A policy's own session hides the auth value; what else is to be hidden, the other one does.
bool Residency::needs_session(const KeyAuth& auth) const noexcept {
  return !in_clear_ && (auth.protect || (auth.policy == nullptr && has_value(auth.value)));
}

// Of a policy session. Without salt it hides no value, and what goes over the bus may be changed.
bool Residency::wants_salt(const KeyAuth& auth) const noexcept {
  return is_pinned() || (!in_clear_ && has_value(auth.value));
}

bool Residency::has_policy_session(const KeyAuth& auth) const noexcept {
  return policy_ && policy_->session().hash == auth.policy->hash &&
         (policy_->is_salted() || !wants_salt(auth));
}

// What salts it may need the slot of the key that is loaded.
void Residency::start_policy_session(Commands& commands, const KeyRef& key, const KeyAuth& auth) {
  if (policy_) {
    policy_->evict_signer(commands);
    commands.flush_if_there(std::exchange(policy_, std::nullopt)->session().handle);
  }
  SessionKind kind{TPM2_SE_POLICY, auth.policy->hash};
  if (!wants_salt(auth)) {
    policy_.emplace(commands.start_session(kind));
    return;
  }
  const TPM2_HANDLE parent = key.blob ? key.blob->parent.handle : TPM2_RH_OWNER;
  if (salt_key_.handle != 0 || is_hierarchy(parent)) {
    if (salt_key_.handle == 0) evict(commands);
    policy_.emplace(salted_session(commands, kind, nullptr));
    return;
  }
  const PublicObject& object = public_of(commands, parent);
  const LoadedObject there{{parent, object.name}, object.public_area};
  policy_.emplace(salted_session(commands, kind, &there));
}

Authorization Residency::authorize(Commands& commands, const core::Libcrypto& crypto,
                                   const KeyRef& key, const KeyAuth& auth, TPM2_CC command) {
  const TPM2_HANDLE parent = key.blob ? key.blob->parent.handle : TPM2_RH_NULL;
  const PolicySession::Use use{
      *auth.policy,
      command,
      has_value(auth.value),
      in_clear_,
      !key.blob,
      parent,
      auth.parent_value,
      [&](const Secret* value) { return authorization(commands, nullptr, value); }};
  bool is_value = false;
  if (!has_policy_session(auth)) start_policy_session(commands, key, auth);
  try {
    is_value = policy_->tell(commands, crypto, use);
  } catch (const TpmError& error) {
    // The session is gone, with a restart or by somebody who flushed it: a new one is all it takes.
    const TSS2_RC code = base_code(error.rc);
    if (code < TPM2_RC_REFERENCE_H0 || code > TPM2_RC_REFERENCE_H6) throw;
    commands.flush_if_there(std::exchange(policy_, std::nullopt)->session().handle);
    start_policy_session(commands, key, auth);
    is_value = policy_->tell(commands, crypto, use);
  }
  Authorization made;
  made.policy = &policy_->session();
  made.value = is_value ? auth.value : nullptr;
  made.in_clear = is_value && in_clear_;
  if (needs_session(auth)) made.session = &session(commands, nullptr);
  return made;
}

// Where the TPM was restarted, another program's session may have the number of ours. So it is
// tried on something that counts no failures: what encrypts asks for the session's HMAC. One of
// ours without salt cannot encrypt, which the TPM finds first; it has nothing else to hide. What is
// not ours is not flushed.
bool Residency::lost_policy_session(Commands& commands, const Authorization& auth) {
  if (auth.policy == nullptr || auth.in_clear || !policy_) return false;
  try {
    commands.get_random(1, auth.policy);
    return false;
  } catch (const TpmError& error) {
    if (is_tcti_error(error.rc)) throw;
    if (!policy_->is_salted() && base_code(error.rc) == TPM2_RC_SYMMETRIC) return false;
  }
  policy_.reset();
  return true;
}

bool Residency::load_below_twin(Commands& commands, const Parent& parent, bool session,
                                const WithParent& load) {
  const TPM2_HANDLE twin = persistent_twin(commands, parent);
  if (twin == 0) return false;
  try {
    with_parent(commands, {twin, nullptr}, nullptr, session, load);
    return true;
  } catch (const TpmError& error) {
    // It only looks the same (below another seed, or with an auth value), or is gone.
    const TSS2_RC code = base_code(error.rc);
    if (code != TPM2_RC_INTEGRITY && code != TPM2_RC_HANDLE && code != TPM2_RC_BAD_AUTH &&
        code != TPM2_RC_AUTH_FAIL && error.reason != Reason::kNoObject)
      throw;
    twins_[primary_id(parent.handle, template_of(parent))] = 0;
    return false;
  }
}

// A storage key of the owner's that was made by the same template is the same key.
TPM2_HANDLE Residency::persistent_twin(Commands& commands, const Parent& parent) {
  constexpr TPM2_HANDLE kStorageRootKey = 0x81000001;  // TCG TPM v2.0 Provisioning Guidance, 7.8
  if (parent.handle != TPM2_RH_OWNER) return 0;
  const TPMT_PUBLIC wanted = template_of(parent);
  const Bytes id = primary_id(parent.handle, wanted);
  const auto known = twins_.find(id);
  if (known != twins_.end()) return known->second;
  const TPM2_HANDLE candidate = salt_key_.handle != 0 ? salt_key_.handle : kStorageRootKey;
  bool is_twin = false;
  try {
    is_twin = matches_template(public_of(commands, candidate).public_area, wanted);
  } catch (const TpmError& error) {
    if (base_code(error.rc) != TPM2_RC_HANDLE) throw;  // nothing is there
  }
  return twins_[id] = is_twin ? candidate : 0;
}

void Residency::with_parent(Commands& commands, const Parent& parent, const Secret* parent_value,
                            bool session, const WithParent& body) {
  try {
    use_parent(commands, parent, parent_value, session, body);
  } catch (const TpmError& error) {
    const std::string cause = cause_in_parent(error.rc, parent.handle);
    if (cause.empty() || (error.rc & TPM2_RC_P) != 0) throw;
    raise(error.reason, error.rc, error.call, commands.place(), cause, error.where);
  }
}

void Residency::use_parent(Commands& commands, const Parent& parent, const Secret* parent_value,
                           bool session, const WithParent& body) {
  if (is_hierarchy(parent.handle)) {
    LoadedObject primary;
    const Transient loaded = load_primary(commands, parent, parent_value, primary);
    body(primary.entity, authorization(commands, &primary, nullptr, session));
    return;
  }
  if (in_clear_ || (!session && !has_value(parent_value))) {  // nothing needs its name
    body({parent.handle, {}}, authorization(commands, nullptr, parent_value));
    return;
  }
  const PublicObject& object = public_of(commands, parent.handle);
  if (!parent.name.empty() && object.name != parent.name)
    throw core::Error(
        Reason::kKeyChanged,
        "TPM2_ReadPublic:" + place_text({commands.place().tpm, hex(parent.handle)}) +
            ": the key there is not the parent that the key's file names; look for "
            "whatever stands between the TPM and this program, or put the parent back");
  // Before it salts a session, which would fail as that.
  constexpr TPMA_OBJECT kParents = TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;
  if ((object.public_area.objectAttributes & kParents) != kParents)
    raise(TPM2_RC_TYPE, "TPM2_ReadPublic", commands.place());
  const LoadedObject there{{parent.handle, object.name}, object.public_area};
  body(there.entity, authorization(commands, &there, parent_value, session));
}

Authorization Residency::authorization(Commands& commands, const LoadedObject* salt,
                                       const Secret* value, bool protect) {
  if (in_clear_) return {nullptr, value, true};
  if (!protect && !has_value(value)) return {};
  return {&session(commands, salt), value};
}

Residency::Transient Residency::load_primary(Commands& commands, const Parent& parent,
                                             const Secret* hierarchy_value, LoadedObject& primary) {
  const TPMT_PUBLIC wanted = template_of(parent);
  const Bytes id = primary_id(parent.handle, wanted);
  const auto known = primaries_.find(id);
  if (known != primaries_.end() && !known->second.context.empty()) {
    try {
      primary.entity = {commands.context_load(known->second.context), known->second.object.name};
      primary.public_area = known->second.object.public_area;
      return {commands, primary.entity.handle};
    } catch (const TpmError& error) {
      const TSS2_RC code = base_code(error.rc);
      if (code != TPM2_RC_INTEGRITY && code != TPM2_RC_HANDLE && code != TPM2_RC_BAD_CONTEXT) throw;
      known->second.context.clear();  // the TPM was reset since
    }
  }
  primary = commands.create_primary(parent.handle,
                                    authorization(commands, nullptr, hierarchy_value), wanted);
  Primary& kept = primaries_[id];
  kept.object = {primary.public_area, primary.entity.name};
  try {
    kept.context = commands.context_save(primary.entity.handle);
  } catch (const TpmError& error) {
    if (is_tcti_error(error.rc)) throw;  // else it is made anew each time
  }
  return {commands, primary.entity.handle};
}

const PublicObject& Residency::public_of(Commands& commands, TPM2_HANDLE persistent) {
  const auto known = public_.find(persistent);
  if (known != public_.end()) return known->second;
  return public_[persistent] = commands.read_public(persistent);
}

Bytes Residency::known_name(TPM2_HANDLE persistent) const {
  if (is_hierarchy(persistent)) return handle_name(persistent);
  const auto known = public_.find(persistent);
  return known != public_.end() ? known->second.name : Bytes{};
}

AuthSession& Residency::session(Commands& commands, const LoadedObject* salt) {
  return session_ ? *session_ : session_.emplace(salted_session(commands, {}, salt));
}

const PublicObject& Residency::salt_object(Commands& commands) {
  const PublicObject& object = public_of(commands, salt_key_.handle);
  if (!salt_key_.name.empty() && object.name != salt_key_.name)
    throw core::Error(
        Reason::kKeyChanged,
        "TPM2_ReadPublic:" + place_text({commands.place().tpm, hex(salt_key_.handle)}) +
            ": the key there is not the one that parent-name asks for; look for "
            "whatever stands between the TPM and this program, or correct "
            "parent-name");
  return object;
}

// Also where no session is started: who set a name is told when it is wrong.
void Residency::require_salt_key(Commands& commands) {
  if (!salt_key_.name.empty()) salt_object(commands);
}

AuthSession Residency::salted_session(Commands& commands, SessionKind kind,
                                      const LoadedObject* salt) {
  const auto start = [&](TPM2_HANDLE handle, const TPMT_PUBLIC& area) {
    kind.salt_key = handle;
    kind.salt_public = &area;
    return commands.start_session(kind);
  };
  if (salt_key_.handle != 0) {
    const PublicObject& object = salt_object(commands);
    return start(salt_key_.handle, object.public_area);
  }
  if (salt != nullptr) return start(salt->entity.handle, salt->public_area);
  // Whoever may use the TPM may make a primary of the null hierarchy.
  const LoadedObject primary =
      commands.create_primary(TPM2_RH_NULL, {}, storage_template(StorageKey::kP256).publicArea);
  const Transient loaded(commands, primary.entity.handle);
  return start(primary.entity.handle, primary.public_area);
}

bool Residency::evict(Commands& commands) {
  const bool had_signer = policy_ && policy_->evict_signer(commands);
  if (!resident_) return had_signer;
  const TPM2_HANDLE handle = resident_->key.handle;
  resident_.reset();
  commands.flush_if_there(handle);
  return true;
}

void Residency::release(Commands& commands) noexcept {
  try {
    evict(commands);
    if (policy_) commands.flush(std::exchange(policy_, std::nullopt)->session().handle);
    if (session_) commands.flush(std::exchange(session_, std::nullopt)->handle);
  } catch (const std::exception&) {
    // Nobody is there to hear of it, and the TPM or its manager forgets what is left.
  }
  forget_key();
  forget_session();
}

bool Residency::owns(TPM2_HANDLE handle) const noexcept {
  return (resident_ && resident_->key.handle == handle) ||
         (session_ && session_->handle == handle) || (policy_ && policy_->owns(handle));
}

}  // namespace hwid::tpm2
