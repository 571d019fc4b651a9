// A TPM as the whole process sees it.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "provider/core/log.h"
#include "provider/core/process.h"
#include "provider/tpm2/credential.h"
#include "provider/tpm2/residency.h"

namespace hwid::tpm2 {

// How a TPM is reached. Of two configurations of one TCTI the first counts, unless they differ in
// what is hidden or by which key: connection and session belong to the process.
struct TpmSetup {
  std::string tcti;        // for open_tcti; empty: the default of tpm2-tss
  bool exclusive = false;  // nobody else uses this TPM, so what others left may be flushed
  SaltKey salt_key;
  OpenTcti open = open_tcti;
  bool in_clear = false;  // no sessions: auth values go over the bus as they are
};

// On whose behalf the TPM is used. Borrowed: lives as long as the call.
struct Caller {
  const core::Libcrypto& crypto;
  const core::Log& log;
};

// What an NV index is read or written with. Borrowed.
struct NvAuth {
  enum class By { kOwner, kIndex } by = By::kIndex;
  const core::Secret* value = nullptr;  // of the owner hierarchy, or of the index; null: empty
  bool protect = false;                 // a session also where no value asks for one
  const KeyPolicy* policy = nullptr;    // by which it is read; null: the value is enough
};

// A result, and of which generation the key was that made it: see Tpm::sign.
template <typename T>
struct Made {
  T value;
  std::uint64_t generation;
};

// Process-wide, thread-safe, usable in a forked child, which opens a connection of its own and
// never touches its parent's. Opens itself at first use; what of ours is loaded is flushed when
// the process exits. Every method throws core::Error, and repeats itself once where the TPM lost
// something (a restart, a connection, an object or session that somebody flushed).
class Tpm final : public core::ProcessObject, public std::enable_shared_from_this<Tpm> {
 public:
  // The one of that TCTI in the process. Touches nothing.
  static std::shared_ptr<Tpm> get(TpmSetup setup);

  explicit Tpm(TpmSetup setup);
  const std::string& tcti() const noexcept { return setup_.tcti; }
  Place place(const std::string& object = {}) const { return {tcti_text(setup_.tcti), object}; }

  // Runs `body`, alone, with the commands and what is loaded. It is run again where that heals, so
  // it must not mind. `object` is for messages. Nothing but commands may happen in it: no callback
  // of the application, no key operation of OpenSSL's.
  struct Work {
    Commands& commands;
    Residency& residency;
    std::uint64_t connection;  // its generation
  };
  void with_connection(const Caller& caller, const std::string& object,
                       const std::function<void(Work&)>& body);

  // The same with a key loaded, or at its handle. Its own auth value is not at hand; that of its
  // parent is tried as for a use of the key.
  using ObjectBody = std::function<void(Commands& commands, const Entity& key)>;
  void with_object(const Caller& caller, const std::string& object, const KeyRef& key,
                   const core::Secret* parent_value, const ObjectBody& body);

  // The public half of a persistent object: one command.
  PublicObject read_public(const Caller& caller, TPM2_HANDLE handle);

  // Use of a key. An auth value goes in a session that hides it; one that the TPM refused is not
  // sent again (kPinWrong). A password session works with whatever key now sits at a handle, and
  // a handle is no identity: the first result of each generation must be verified in software. If
  // it fails, distrust(generation) and do it once more.
  Made<TPMT_SIGNATURE> sign(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                            const TPM2B_DIGEST& digest, const TPMT_SIG_SCHEME& scheme);
  // Of a restricted key, which signs only what the TPM has hashed.
  Made<TPMT_SIGNATURE> sign_message(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                                    core::ByteView message, TPMI_ALG_HASH algorithm,
                                    const TPMT_SIG_SCHEME& scheme);
  Made<core::Secret> rsa_decrypt(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                                 core::ByteView input, const TPMT_RSA_DECRYPT& scheme,
                                 core::ByteView label = {});
  // The x coordinate; leading zeros may be missing.
  Made<core::Secret> ecdh_zgen(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                               const TPMS_ECC_POINT& point);

  // What `key`, an attestation key, says of another one in the same TPM, of how that was made, and
  // of PCRs (tpm_attest.cpp). Who believes it has verified it.
  Attested certify(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                   const KeyRef& object, const KeyAuth& object_auth, core::ByteView nonce);
  Attested certify_creation(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                            const KeyRef& object, const KeyAuth& object_auth,
                            const CreationProof& creation, core::ByteView nonce);
  Attested quote(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                 const TPML_PCR_SELECTION& pcrs, core::ByteView nonce);
  // The secret that was made for `key` beside that endorsement key.
  core::Secret activate_credential(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                                   const EkRef& endorsement_key,
                                   const core::Secret* endorsement_value,
                                   const Credential& credential);

  // The name of what sits where the key of `generation` was; empty if nothing of it is loaded any
  // more. One command.
  core::Bytes name_at(const Caller& caller, const KeyRef& key, std::uint64_t generation);

  // What is loaded as of `generation` is not what it should be.
  void distrust(std::uint64_t generation);

  // Makes a key. `new_auth` may be null. The result is loadable below `parent`.
  CreatedObject create(const Caller& caller, const Parent& parent, const KeyAuth& parent_auth,
                       const core::Secret* new_auth, const TPMT_PUBLIC& wanted);
  // Throws kPinMissing where the owner hierarchy has an auth value and `owner_value` is none.
  void require_owner_value(const Caller& caller, const core::Secret* owner_value,
                           TPM2_HANDLE handle);
  // Makes a loadable key persistent at `handle`, on behalf of the owner (`owner_value`: the auth
  // value of that hierarchy). kExists: the handle is taken.
  void persist(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
               const core::Secret* owner_value, TPM2_HANDLE handle);
  // Removes the object of that name. Throws kKeyChanged where another sits at the handle.
  void remove_persistent(const Caller& caller, TPM2_HANDLE handle, const core::Bytes& name,
                         const core::Secret* owner_value);

  // NV memory (tpm_nv.cpp). What an index is: one command. Throws kNoObject where there is none.
  NvPublic nv_public(const Caller& caller, TPM2_HANDLE index);
  // All that it holds, in as many commands as that takes, and one more the first time in a process.
  // Throws kKeyChanged where the index is not as `nv` says any more, and as the use of a key does.
  core::Bytes nv_read(const Caller& caller, const NvPublic& nv, const NvAuth& auth);
  bool owner_has_value(const Caller& caller);
  // Makes an index of `wanted` on behalf of the owner (`owner_value`: the auth value of that
  // hierarchy) and writes `data`, which fill it, to it, by the index's own value where the owner
  // may not; empty: nothing is written. `new_auth`: its auth value; null: none. Returns what is
  // there then. What fails leaves no index behind. Throws kExists where one is there, kBadParameter
  // where it, or its auth value, is too large. `protect`: a session also where no value asks for
  // one, which hides the data on the way.
  NvPublic nv_store(const Caller& caller, const TPMS_NV_PUBLIC& wanted, core::ByteView data,
                    const core::Secret* new_auth, const core::Secret* owner_value,
                    bool protect = false);
  // Removes the index, on behalf of the owner. Throws kKeyChanged where it is another now, or was
  // written since.
  void nv_remove(const Caller& caller, const NvPublic& nv, const core::Secret* owner_value,
                 bool protect = false);

  // The public half of the primary that `parent` (a hierarchy, and a template) stands for, which
  // is made for that if it was not before, and does not stay loaded. `value`: of the hierarchy.
  PublicObject primary_public(const Caller& caller, const Parent& parent,
                              const core::Secret* value);

  // Values of PCRs. Throws kUnsupported where the TPM has not all of them.
  std::vector<PcrValue> pcr_read(const Caller& caller, const TPML_PCR_SELECTION& pcrs);

  // True if `signature` is one of that digest by the holder of `signer`.
  bool verifies(const Caller& caller, const TPM2B_PUBLIC& signer, core::ByteView digest,
                const TPMT_SIGNATURE& signature);

  core::Lockout lockout(const Caller& caller);
  // Before a use without the auth value that is asked for, which would count as a wrong one does:
  // throws kPinMissing where failures count already. `why`: who says that there is a value.
  void require_no_failures(const Caller& caller, const std::string& object, const char* why);
  // Forgives all failures. `lockout_value`: the auth value of the lockout hierarchy.
  void end_lockout(const Caller& caller, const core::Secret* lockout_value);

  // `protect`: hidden on the bus by a session.
  core::Secret random(const Caller& caller, std::size_t size, bool protect);
  std::vector<TPM2_HANDLE> handles(const Caller& caller, TPM2_HANDLE first);

  void quiesce() noexcept override;

 private:
  struct Link {  // an open connection and what is loaded through it
    Link(Tcti tcti, const TpmSetup& setup, std::atomic<std::uint64_t>& generations)
        : connection(std::move(tcti)),
          residency(setup.salt_key, setup.in_clear, generations),
          generation(++generations) {}
    Connection connection;
    Residency residency;
    std::uint64_t generation;
  };
  struct State {  // not shared with a forked child
    explicit State(const State* inherited);
    std::mutex mutex;  // held for commands, not while waiting for other programs
    std::optional<Link> link;
    std::mutex accepted_mutex;
    std::set<core::Bytes> accepted;  // fingerprints of keys with auth values that the TPM took
    bool released_at_exit = false;
    mutable std::atomic<int> device{-1};  // a device file that a child inherits, and its number
    std::atomic<std::uint64_t> device_number{0};
    std::atomic<bool> used_dbus{false};       // here, or in the process that we were forked from
    std::atomic<const char*> found{nullptr};  // where tpm2-tss's default led, likewise
    const bool is_cut_off = false;            // from D-Bus
  };
  // What was tried already to heal one call.
  struct Attempts {
    bool reconnected = false, reloaded = false, restarted = false, evicted = false, flushed = false;
    bool pcrs_changed = false;
    std::chrono::steady_clock::time_point waiting_since{};
    std::chrono::milliseconds pause{0};
  };
  using Milliseconds = std::chrono::milliseconds;

  void open(State& state);
  void close(State& state) noexcept;
  void release(State& state) noexcept;
  Milliseconds heal(State& state, const Caller& caller, const Place& place, const TpmError& error,
                    Attempts& attempts);
  Milliseconds make_room(State& state, const Caller& caller, const Place& place,
                         const TpmError& error, Attempts& attempts);
  void flush_foreign(Commands& commands, const Residency& residency, bool objects) const;
  [[noreturn]] void raise_no_room(Commands& commands, const Residency& residency,
                                  const TpmError& error, bool objects) const;

  using KeyBody = std::function<void(Commands&, const Entity&, const Authorization&)>;
  // `command`: the one in `body` that the key is authorized for.
  std::uint64_t with_key(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                         TPM2_CC command, const KeyBody& body);
  // The same with what is loaded. `also`: the fingerprint of another auth value that it tries.
  using WorkBody = std::function<void(Work&, const Entity&, const Authorization&)>;
  std::uint64_t with_work(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                          TPM2_CC command, const WorkBody& body, const core::Bytes& also = {});
  using PairBody =
      std::function<void(Commands&, const Residency::Ready& key, const Residency::Ready& second)>;
  void with_pair(const Caller& caller, const KeyRef& key, const KeyAuth& auth, TPM2_CC command,
                 const KeyRef& second, const KeyAuth& second_auth, const PairBody& body);
  void nv_command(const Caller& caller, const NvPublic& nv, const NvAuth& auth, TPM2_CC command,
                  const KeyBody& body);
  void nv_define(const Caller& caller, const NvPublic& wanted, const core::Secret* new_auth,
                 const core::Secret* owner_value, bool protect);
  void nv_write(const Caller& caller, const NvPublic& nv, core::ByteView data,
                const NvAuth& writer);
  std::size_t nv_buffer_size(const Caller& caller);
  // Whose auth value is tried.
  struct Subject {
    Entity entity;
    const core::Secret* value;
    std::string identity;  // for refused PINs
    bool persistent;       // nothing can be loaded in its stead
    // kParent: of what is loaded or made; kNvOwner: the owner, for NV memory.
    enum class Kind { kKey, kParent, kOwner, kNvOwner, kLockout, kEndorsement } kind;
  };
  Subject subject(const KeyRef& key, const KeyAuth& auth) const;
  Subject subject(TPM2_HANDLE parent, const core::Secret* value) const;
  Subject owner(const core::Secret* value) const;
  static const char* value_needed(const Subject& subject) noexcept;
  static std::string value_wrong(const Subject& subject);
  bool was_accepted(const core::Bytes& fingerprint);
  void set_accepted(const core::Bytes& fingerprint, bool accepted);
  static void check_not_refused(const Subject& subject, const Place& place);
  // What an answer about authorization means; returns only where it is about something else. What
  // it asks the TPM never leads to another try.
  static void examine_refusal(Work& work, const TpmError& error, const Subject& subject);
  // Where it was `other` that was refused, in the use of a key: throws that as what says nothing of
  // the key.
  static void examine_other(Work& work, const TpmError& error, const Subject& other);
  static void check_still_there(Work& work, const TpmError& error, const Subject& subject);
  static void check_nv_unchanged(Work& work, const TpmError& error, const NvPublic& nv);
  [[noreturn]] static void raise_nv_changed(const TpmError& error, const Place& place);
  static void release_at_exit(core::ProcessObject& object) noexcept;

  const TpmSetup setup_;
  std::atomic<std::uint64_t> generations_{0};   // goes on in a child, so none comes twice
  std::atomic<std::size_t> nv_buffer_size_{0};  // 0: not asked yet
  core::EpochLocal<State> state_;
};

}  // namespace hwid::tpm2
