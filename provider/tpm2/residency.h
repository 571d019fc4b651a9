// What of ours is loaded in a TPM: one key, one session, and primaries that come and go.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "provider/tpm2/commands.h"
#include "provider/tpm2/policy_session.h"

namespace hwid::tpm2 {

// What a key was made below.
struct Parent {
  TPM2_HANDLE handle = TPM2_RH_OWNER;  // a persistent storage key, or a hierarchy
  // Of a hierarchy: the template of the primary in between; null: StorageKey::kP256.
  std::shared_ptr<const TPMT_PUBLIC> primary;
  core::Bytes name = {};  // what a persistent one is called in the key's file; empty: not given
};

// A key that is kept outside of the TPM, wrapped for its parent.
struct KeyBlob {
  TPM2B_PUBLIC public_area{};
  TPM2B_PRIVATE private_area{};
  Parent parent;
  // Of a key that was wrapped elsewhere: what the parent alone decrypts, the seed of the outer
  // wrapper (Part 1, 23.3.3). Such a key is imported before it is loaded. Size 0: it is not.
  TPM2B_ENCRYPTED_SECRET seed{};
};

// A key by what it is called. A handle is not an identity, the name is.
struct KeyRef {
  TPM2_HANDLE persistent = 0;                         // or
  std::shared_ptr<const KeyBlob> blob;                // to be loaded
  core::Bytes name;                                   // object_name of its public area
  std::string label;                                  // for messages
  std::shared_ptr<const KeyPolicy> policy = nullptr;  // by which it is used; null: by its value
};

// What a use of a key is authorized with. Borrowed. Null and empty values are the same.
struct KeyAuth {
  const core::Secret* value = nullptr;         // of the key
  const core::Secret* parent_value = nullptr;  // of its parent: storage key or hierarchy
  bool protect = false;                        // a session also where no value asks for one
  const KeyPolicy* policy = nullptr;           // by which it is used; null: the value opens it
};

// A TPM's endorsement key: persistent, or made anew from its template each time it is used.
struct EkRef {
  TPM2_HANDLE persistent = 0;  // 0: made from `wanted`
  TPMT_PUBLIC wanted{};        // what TPM2_CreatePrimary is given
  TPMT_PUBLIC area{};          // what it is
  core::Bytes name;
};

// The key that salts sessions.
struct SaltKey {
  TPM2_HANDLE handle = 0;  // 0: the key's own parent, else a primary of the null hierarchy
  core::Bytes name;        // what it must be called; empty: anything
};

// Belongs to one connection; not thread-safe.
//
// A TPM without resource manager has three slots, and a persistent key needs one while it is in
// use. So at most one key stays loaded between operations. Primaries, which are costly to make, are
// kept as saved contexts; where a persistent storage key is the same, none is made.
class Residency {
 public:
  // `generations` is counted up for each thing that is loaded anew.
  // `in_clear`: no sessions are started, auth values go over the bus as passwords.
  Residency(SaltKey salt_key, bool in_clear, std::atomic<std::uint64_t>& generations)
      : salt_key_(std::move(salt_key)), in_clear_(in_clear), generations_(generations) {}

  struct Ready {
    Entity key;
    Authorization auth;
    std::uint64_t generation = 0;  // of the key that is loaded; 0: persistent
  };
  // Loads the key if it is not there, and starts what sessions are needed and not there. Where a
  // policy opens the key, it is not told yet: authorize() does that.
  Ready prepare(Commands& commands, const KeyRef& key, const KeyAuth& auth);
  // Has `auth.policy` hold for the next use of the key, which is by `command`.
  Authorization authorize(Commands& commands, const core::Libcrypto& crypto, const KeyRef& key,
                          const KeyAuth& auth, TPM2_CC command);
  // After a refusal of what authorize() made: true if the session is not ours any more (then it is
  // forgotten, and authorize() starts another), so that the refusal says nothing of the key.
  bool lost_policy_session(Commands& commands, const Authorization& auth);
  void policy_used() noexcept {
    if (policy_) policy_->used();
  }

  // Runs `body` with another key beside the one that prepare() made ready, which stays. It is
  // authorized by its auth value alone, in a session of its own where it has one: a command takes
  // no session twice.
  using WithKey = std::function<void(const Entity& key, const Authorization& auth)>;
  void with_second(Commands& commands, const KeyRef& key, const KeyAuth& auth, const WithKey& body);
  // The same with the endorsement key. `endorsement_value`: of that hierarchy, null: none.
  // `hides`: a session that encrypts what comes out; null where nothing is to be hidden.
  using WithEndorsementKey =
      std::function<void(const Entity& key, const Authorization& auth, AuthSession* hides)>;
  void with_endorsement_key(Commands& commands, const EkRef& key,
                            const core::Secret* endorsement_value, const WithEndorsementKey& body);

  // Runs `body` with the parent, which is there as long as it runs. `session`: start one if there
  // is none, for what is made below. What the TPM says against the parent names it.
  using WithParent = std::function<void(const Entity& parent, const Authorization& auth)>;
  void with_parent(Commands& commands, const Parent& parent, const core::Secret* parent_value,
                   bool session, const WithParent& body);

  // How `value` (may be null) is shown to the TPM: through the session, started if there is none,
  // where there is something to hide. `salt`: a loaded key that may serve; null: none is.
  Authorization authorization(Commands& commands, const LoadedObject* salt,
                              const core::Secret* value, bool protect = false);
  // Throws kKeyChanged where the salt key has another name than it must have. Once a connection.
  void require_salt_key(Commands& commands);
  // Sessions are begun with a key that is known by its name, so who changes what goes over the bus
  // has no part in them.
  bool is_pinned() const noexcept { return !in_clear_ && !salt_key_.name.empty(); }
  // The session, started if there is none.
  AuthSession& session(Commands& commands, const LoadedObject* salt);
  AuthSession* current_session() noexcept { return session_ ? &*session_ : nullptr; }

  // Flushes the key that is loaded, or what is in its stead. False if nothing is.
  bool evict(Commands& commands);
  void forget_key() noexcept { resident_.reset(); }
  void forget_session() noexcept {
    session_.reset();
    forget_public();  // what salted it may not be what it was
  }
  // What is known of persistent parents; their names, empty if nothing is.
  void forget_public() noexcept {
    public_.clear();
    twins_.clear();
  }
  core::Bytes known_name(TPM2_HANDLE persistent) const;
  // Flushes all that is ours, and forgets it.
  void release(Commands& commands) noexcept;

  std::uint64_t generation() const noexcept { return resident_ ? resident_->generation : 0; }
  TPM2_HANDLE loaded() const noexcept { return resident_ ? resident_->key.handle : 0; }

  // For who must not flush it.
  bool owns(TPM2_HANDLE handle) const noexcept;

 private:
  struct Resident {
    Entity key;
    std::uint64_t generation;
  };
  struct Primary {
    PublicObject object;
    core::Bytes context;  // saved
  };
  class Transient;

  Entity load(Commands& commands, const KeyRef& key, const KeyAuth& auth, bool session);
  bool load_below_twin(Commands& commands, const Parent& parent, bool session,
                       const WithParent& load);
  const TPM2B_PRIVATE& private_area(Commands& commands, const KeyRef& key, const Entity& parent,
                                    const Authorization& auth);
  void use_parent(Commands& commands, const Parent& parent, const core::Secret* parent_value,
                  bool session, const WithParent& body);
  TPM2_HANDLE persistent_twin(Commands& commands, const Parent& parent);
  Transient load_primary(Commands& commands, const Parent& parent,
                         const core::Secret* hierarchy_value, LoadedObject& primary);
  const PublicObject& public_of(Commands& commands, TPM2_HANDLE persistent);
  const PublicObject& salt_object(Commands& commands);
  AuthSession salted_session(Commands& commands, SessionKind kind, const LoadedObject* salt);
  bool needs_session(const KeyAuth& auth) const noexcept;
  bool wants_salt(const KeyAuth& auth) const noexcept;
  bool has_policy_session(const KeyAuth& auth) const noexcept;
  void start_policy_session(Commands& commands, const KeyRef& key, const KeyAuth& auth);

  const SaltKey salt_key_;
  const bool in_clear_;
  std::atomic<std::uint64_t>& generations_;
  std::optional<Resident> resident_;
  std::optional<AuthSession> session_;
  std::optional<PolicySession> policy_;
  std::map<TPM2_HANDLE, PublicObject> public_;     // of persistent parents
  std::map<core::Bytes, Primary> primaries_;       // by hierarchy and template
  std::map<core::Bytes, TPM2_HANDLE> twins_;       // likewise; 0: there is none
  std::map<core::Bytes, TPM2B_PRIVATE> imported_;  // by the key's name, wrapped for its parent
};

}  // namespace hwid::tpm2
