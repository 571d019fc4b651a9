// Use of keys: tpm.h.
#include <algorithm>

#include "provider/tpm2/lockout.h"
#include "provider/tpm2/public_area.h"
#include "provider/tpm2/session_crypto.h"
#include "provider/tpm2/tpm.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::ByteView;
using core::Error;
using core::Reason;
using core::Secret;

namespace {

bool is_refusal(TSS2_RC code) noexcept {
  return code == TPM2_RC_AUTH_FAIL || code == TPM2_RC_BAD_AUTH;
}

constexpr const char* kOwnerValueNeeded =
    "the owner hierarchy has an auth value, which making a key persistent and removing it need, "
    "and none was given; give the parameter owner-auth (hwid: --owner-auth-source)";

std::string lockout_text(const core::Lockout& lockout) {
  return std::to_string(lockout.failures) + " of " + std::to_string(lockout.most_failures) +
         " failures count; one is forgiven after " + std::to_string(lockout.forgiven_after) +
         " seconds";
}

// `error` again with `text`, and with where the lockout stands, if the TPM says it.
TpmError with_lockout(Commands& commands, const TpmError& error, Reason reason, std::string text) {
  try {
    text += " (" + lockout_text(commands.lockout()) + ")";
  } catch (const Error&) {  // the refusal says more than why this was not answered
  }
  return {reason, error.rc, error.call, error.code, text, error.where};
}

}  // namespace

Tpm::Subject Tpm::subject(const KeyRef& key, const KeyAuth& auth) const {
  return {{key.persistent, key.name},
          auth.value,
          "tpm2:" + setup_.tcti + "#" + core::to_hex(key.name),
          !key.blob,
          Subject::Kind::kKey};
}

Tpm::Subject Tpm::subject(TPM2_HANDLE parent, const Secret* value) const {
  return {{parent, is_hierarchy(parent) ? handle_name(parent) : Bytes{}},
          value,
          "tpm2:" + setup_.tcti + "#" + hex(parent),
          true,
          Subject::Kind::kParent};
}

const char* Tpm::value_needed(const Subject& subject) noexcept {
  switch (subject.kind) {
    case Subject::Kind::kOwner:
      return kOwnerValueNeeded;
    case Subject::Kind::kEndorsement:
      return "the endorsement hierarchy has an auth value, and none was given; give it with "
             "--endorsement-auth-source";
    case Subject::Kind::kNvOwner:
      return "the owner hierarchy has an auth value, which this NV index needs, and none was "
             "given; give ?parent-pin-source=file:PATH in the URI, or TPM2OPENSSL_PARENT_AUTH in "
             "the environment (hwid: --owner-auth-source)";
    case Subject::Kind::kLockout:
      return "the lockout hierarchy has an auth value, and none was given; give it with "
             "--so-pin-source, once the recovery time has passed";
    case Subject::Kind::kParent:
      return "the key's parent needs an auth value, and none was given; give "
             "?parent-pin-source=file:PATH in the URI, or TPM2OPENSSL_PARENT_AUTH in the "
             "environment";
    default:
      return is_nv(subject.entity.handle)
                 ? "the NV index needs an auth value, and none was given; give "
                   "?pin-source=file:PATH in the URI"
                 : "the key needs an auth value, and none was given; give ?pin-source=file:PATH in "
                   "the URI, or pin-source in the configuration";
  }
}

// Where it is not the value of the key that the message names; empty: it is.
std::string Tpm::value_wrong(const Subject& subject) {
  switch (subject.kind) {
    case Subject::Kind::kOwner:
      return "the owner hierarchy's auth value is wrong; correct the parameter owner-auth (hwid: "
             "--owner-auth-source)";
    case Subject::Kind::kEndorsement:
      return "the endorsement hierarchy's auth value is wrong; correct it "
             "(--endorsement-auth-source)";
    case Subject::Kind::kNvOwner:
      return "the owner hierarchy's auth value is wrong; correct what ?parent-pin-source= or "
             "TPM2OPENSSL_PARENT_AUTH gives (hwid: --owner-auth-source)";
    case Subject::Kind::kLockout:
      return "the lockout hierarchy's auth value is wrong; correct it (--so-pin-source), once the "
             "recovery time has passed";
    case Subject::Kind::kParent:
      return "the auth value of the key's parent (" + hex(subject.entity.handle) +
             ") is wrong; correct what ?parent-pin-source= or TPM2OPENSSL_PARENT_AUTH gives";
    default:
      return {};
  }
}

// No value at all counts against the lockout as a wrong one does.
void Tpm::check_not_refused(const Subject& subject, const Place& place) {
  if (!core::Process::get().refused_pins().knows(subject.identity, trimmed(subject.value))) return;
  if (!has_value(subject.value))
    throw Error(Reason::kPinMissing, "TPM_RC_AUTH_FAIL",
                "auth value:" + place_text(place) + ": " + value_needed(subject));
  const std::string what =
      subject.kind == Subject::Kind::kParent
          ? "the auth value of the key's parent (" + hex(subject.entity.handle) + ")"
          : "it";
  throw Error(Reason::kPinWrong, "TPM_RC_AUTH_FAIL",
              "auth value:" + place_text(place) + ": the TPM refused " + what +
                  " before, and it is not sent again; correct it, and start the program anew if "
                  "the key's auth value was changed");
}

// A name that is not the one we mean looks like a wrong auth value, and so does a session that is
// not ours any more. Each try with a wrong name costs one of few.
void Tpm::check_still_there(Work& work, const TpmError& error, const Subject& subject) {
  const Place& place = work.commands.place();
  const Entity& whose = subject.entity;
  Bytes now = whose.name;
  try {
    if (!is_hierarchy(whose.handle) && !whose.name.empty())
      now = is_nv(whose.handle) ? work.commands.nv_read_public(whose.handle).name
                                : work.commands.read_public(whose.handle).name;
  } catch (const TpmError&) {
    throw TpmError(error);
  }
  if (now != whose.name) {
    if (!subject.persistent) raise(TPM2_RC_REFERENCE_H0, "TPM2_ReadPublic", place);
    work.residency.forget_public();
    if (is_nv(whose.handle)) raise_nv_changed(error, place);
    raise(Reason::kKeyChanged, error.rc, "TPM2_ReadPublic", place,
          "another key sits at " + hex(whose.handle) + " now; open the key again");
  }
  AuthSession* const session = work.residency.current_session();
  if (session == nullptr) return;
  try {
    work.commands.get_random(1, session);
  } catch (const TpmError& lost) {
    if (is_tcti_error(lost.rc)) throw TpmError(error);
    raise(TPM2_RC_REFERENCE_S0, "TPM2_GetRandom", place);
  }
}

void Tpm::examine_refusal(Work& work, const TpmError& error, const Subject& subject) {
  const TSS2_RC code = base_code(error.rc);
  if (code == TPM2_RC_LOCKOUT)
    throw with_lockout(work.commands, error, Reason::kPinLocked, error.what());
  if (!is_refusal(code)) return;
  check_still_there(work, error, subject);
  core::Process::get().refused_pins().remember(subject.identity, trimmed(subject.value));
  if (!has_value(subject.value))
    raise(Reason::kPinMissing, error.rc, error.call, work.commands.place(), value_needed(subject),
          error.where);
  const std::string wrong = value_wrong(subject);
  const std::string text =
      wrong.empty() ? error.what()
                    : call_text(error.call, error.rc, work.commands.place()) + ": " + wrong;
  if (code == TPM2_RC_AUTH_FAIL) throw with_lockout(work.commands, error, error.reason, text);
  throw TpmError(error.reason, error.rc, error.call, error.code, text, error.where);
}

namespace {

// Again, once, where what was refused was `lost` and not the auth value.
template <typename Use, typename Lost>
void use_once_more(Use&& use, Lost&& lost) {
  try {
    use();
  } catch (const TpmError& error) {
    if (!is_refusal(base_code(error.rc)) || !lost()) throw;
    use();
  }
}

}  // namespace

// A value that the TPM has not taken yet is tried by one process of a family at a time, whatever
// the key: keys have parents in common, and the TPM counts the failures of all together.
std::uint64_t Tpm::with_work(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                             TPM2_CC command, const WorkBody& body, const Bytes& also) {
  const std::string object = !key.label.empty() ? key.label : key.blob ? "" : hex(key.persistent);
  Subject parent = subject(key.blob ? key.blob->parent.handle : 0, auth.parent_value);
  Subject subject = this->subject(key, auth);
  core::RefusedPins& refused = core::Process::get().refused_pins();
  Bytes fingerprint = refused.fingerprint(subject.identity, trimmed(subject.value));
  if (key.blob) {
    const Bytes more = refused.fingerprint(parent.identity, trimmed(parent.value));
    fingerprint.insert(fingerprint.end(), more.begin(), more.end());
  }
  fingerprint.insert(fingerprint.end(), also.begin(), also.end());
  std::optional<core::RefusedPins::Try> one_at_a_time;
  if (!was_accepted(fingerprint)) {
    one_at_a_time.emplace(refused, "tpm2:" + setup_.tcti);
    check_not_refused(subject, place(object));
    if (key.blob) check_not_refused(parent, place(object));
  }
  std::uint64_t generation = 0;
  try {
    with_connection(caller, object, [&](Work& work) {
      Residency::Ready ready;
      try {
        ready = work.residency.prepare(work.commands, key, auth);
      } catch (const TpmError& error) {
        parent.entity.name = work.residency.known_name(parent.entity.handle);
        examine_refusal(work, error, parent);
        throw;
      }
      subject.entity = ready.key;
      try {
        use_once_more(
            [&] {
              if (auth.policy != nullptr)
                ready.auth =
                    work.residency.authorize(work.commands, caller.crypto, key, auth, command);
              body(work, ready.key, ready.auth);
              work.residency.policy_used();
            },
            [&] { return work.residency.lost_policy_session(work.commands, ready.auth); });
      } catch (const TpmError& error) {
        examine_refusal(work, error, subject);
        if (auth.policy != nullptr && base_code(error.rc) == TPM2_RC_POLICY_FAIL)
          raise_policy_failure(work.commands, *auth.policy, error);
        throw;
      }
      generation = ready.generation != 0 ? ready.generation : work.connection;
    });
  } catch (const Error& error) {
    // It may have been taken before: the key was given another value since.
    if (error.reason == Reason::kPinWrong || error.reason == Reason::kPinMissing)
      set_accepted(fingerprint, false);
    throw;
  }
  if (one_at_a_time) set_accepted(fingerprint, true);
  return generation;
}

std::uint64_t Tpm::with_key(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                            TPM2_CC command, const KeyBody& body) {
  return with_work(caller, key, auth, command,
                   [&](Work& work, const Entity& entity, const Authorization& authorization) {
                     body(work.commands, entity, authorization);
                   });
}

bool Tpm::was_accepted(const Bytes& fingerprint) {
  State& state = state_.get();
  const std::lock_guard lock(state.accepted_mutex);
  return state.accepted.contains(fingerprint);
}

void Tpm::set_accepted(const Bytes& fingerprint, bool accepted) {
  State& state = state_.get();
  const std::lock_guard lock(state.accepted_mutex);
  if (accepted)
    state.accepted.insert(fingerprint);
  else
    state.accepted.erase(fingerprint);
}

Made<TPMT_SIGNATURE> Tpm::sign(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                               const TPM2B_DIGEST& digest, const TPMT_SIG_SCHEME& scheme) {
  Made<TPMT_SIGNATURE> made{};
  made.generation =
      with_key(caller, key, auth, TPM2_CC_Sign,
               [&](Commands& commands, const Entity& entity, const Authorization& authorization) {
                 made.value = commands.sign(entity, authorization, digest, scheme);
               });
  return made;
}

namespace {

// By the TPM; the key stays loaded meanwhile. The hierarchy must not be the null one, whose tickets
// are good for nothing.
HashedMessage hash_message(Commands& commands, ByteView message, TPMI_ALG_HASH algorithm) {
  constexpr std::size_t kMost = Commands::kMostBuffer;
  if (message.size() <= kMost) return commands.hash(message, algorithm, TPM2_RH_OWNER);
  const TPM2_HANDLE sequence = commands.hash_sequence_start(algorithm);
  try {
    while (message.size() > kMost) {
      commands.sequence_update(sequence, message.first(kMost));
      message = message.subspan(kMost);
    }
    return commands.sequence_complete(sequence, message, TPM2_RH_OWNER);
  } catch (const TpmError& error) {
    if (!is_tcti_error(error.rc)) commands.flush_if_there(sequence);
    throw;
  }
}

// No session protects what is hashed, on the way there or back, and its ticket opens the key.
void require_hash(const HashedMessage& hashed, ByteView digest, ByteView message,
                  const Place& place) {
  if (std::ranges::equal(ByteView(hashed.digest.buffer, hashed.digest.size), digest)) return;
  const bool at_once = message.size() <= Commands::kMostBuffer;
  raise(Reason::kDeviceError, kMalformedResponse, at_once ? "TPM2_Hash" : "TPM2_SequenceComplete",
        place,
        "the TPM hashed another message than it was given, and nothing was signed; look for "
        "whatever stands between it and this program");
}

}  // namespace

Made<TPMT_SIGNATURE> Tpm::sign_message(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                                       ByteView message, TPMI_ALG_HASH algorithm,
                                       const TPMT_SIG_SCHEME& scheme) {
  const SessionDigest digest = SessionCrypto(caller.crypto, algorithm).hash({message});
  Made<TPMT_SIGNATURE> made{};
  made.generation = with_key(
      caller, key, auth, TPM2_CC_Sign,
      [&](Commands& commands, const Entity& entity, const Authorization& authorization) {
        const HashedMessage hashed = hash_message(commands, message, algorithm);
        require_hash(hashed, digest, message, commands.place());
        if (hashed.ticket.digest.size == 0)  // Part 2, 10.6.6: the message could be an attestation
          raise(Reason::kNotPermitted, TPM2_RC_TICKET, "TPM2_Sign", commands.place(),
                "the message begins with ff 54 43 47, as what a TPM attests by itself does, and a "
                "restricted key signs no other; sign it with a key that is not restricted");
        made.value = commands.sign(entity, authorization, hashed.digest, scheme, &hashed.ticket);
      });
  return made;
}

Made<Secret> Tpm::rsa_decrypt(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                              ByteView input, const TPMT_RSA_DECRYPT& scheme, ByteView label) {
  Made<Secret> made{};
  made.generation =
      with_key(caller, key, auth, TPM2_CC_RSA_Decrypt,
               [&](Commands& commands, const Entity& entity, const Authorization& authorization) {
                 made.value = commands.rsa_decrypt(entity, authorization, input, scheme, label);
               });
  return made;
}

Made<Secret> Tpm::ecdh_zgen(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                            const TPMS_ECC_POINT& point) {
  Made<Secret> made{};
  made.generation =
      with_key(caller, key, auth, TPM2_CC_ECDH_ZGen,
               [&](Commands& commands, const Entity& entity, const Authorization& authorization) {
                 made.value = commands.ecdh_zgen(entity, authorization, point);
               });
  return made;
}

CreatedObject Tpm::create(const Caller& caller, const Parent& parent, const KeyAuth& parent_auth,
                          const Secret* new_auth, const TPMT_PUBLIC& wanted) {
  CreatedObject made;
  const Subject subject = this->subject(parent.handle, parent_auth.parent_value);
  check_not_refused(subject, place(hex(parent.handle)));
  with_connection(caller, hex(parent.handle), [&](Work& work) {
    work.residency.require_salt_key(work.commands);
    const bool session = parent_auth.protect || has_value(new_auth) || work.residency.is_pinned();
    work.residency.evict(work.commands);
    try {
      work.residency.with_parent(work.commands, parent, parent_auth.parent_value, session,
                                 [&](const Entity& entity, const Authorization& auth) {
                                   made = work.commands.create(entity, auth, new_auth, wanted);
                                 });
    } catch (const TpmError& error) {
      examine_refusal(work, error, subject);
      if (has_value(new_auth) && error.rc == (TPM2_RC_SIZE | TPM2_RC_P | TPM2_RC_1))
        raise(Reason::kBadParameter, error.rc, error.call, work.commands.place(),
              "the new key's auth value has " + std::to_string(new_auth->size()) +
                  " bytes, and such a key takes " + std::to_string(hash_size(wanted.nameAlg)) +
                  " at most; give a shorter one",
              error.where);
      throw;
    }
  });
  return made;
}

Tpm::Subject Tpm::owner(const Secret* value) const {
  Subject subject = this->subject(TPM2_RH_OWNER, value);
  subject.kind = Subject::Kind::kOwner;
  return subject;
}

void Tpm::require_owner_value(const Caller& caller, const Secret* owner_value, TPM2_HANDLE handle) {
  if (has_value(owner_value)) return;
  with_connection(caller, hex(handle), [&](Work& work) {
    if (work.commands.owner_has_value())
      throw Error(Reason::kPinMissing, "TPM2_EvictControl:" + place_text(work.commands.place()) +
                                           ": " + kOwnerValueNeeded);
  });
}

void Tpm::persist(const Caller& caller, const KeyRef& key, const KeyAuth& auth,
                  const Secret* owner_value, TPM2_HANDLE handle) {
  const Subject owner = this->owner(owner_value);
  check_not_refused(owner, place(hex(handle)));
  with_connection(caller, hex(handle), [&](Work& work) {
    // In a session it is the key of that name, and no other, that becomes persistent.
    const Authorization owner_auth = work.residency.authorization(
        work.commands, nullptr, owner_value, work.residency.is_pinned());
    const Residency::Ready ready = work.residency.prepare(work.commands, key, auth);
    try {
      work.commands.evict_control(TPM2_RH_OWNER, owner_auth, ready.key, handle);
    } catch (const TpmError& error) {
      examine_refusal(work, error, owner);
      throw;
    }
  });
}

bool Tpm::verifies(const Caller& caller, const TPM2B_PUBLIC& signer, ByteView digest,
                   const TPMT_SIGNATURE& signature) {
  bool is_valid = false;
  with_connection(caller, {}, [&](Work& work) {
    work.residency.evict(work.commands);
    const Entity key = work.commands.load_external(signer);
    try {
      work.commands.verify_signature(key, digest, signature);
      is_valid = true;
    } catch (const TpmError& error) {
      if (is_tcti_error(error.rc)) throw;
      work.commands.flush_if_there(key.handle);
      if (base_code(error.rc) != TPM2_RC_SIGNATURE) throw;
      return;
    }
    work.commands.flush_if_there(key.handle);
  });
  return is_valid;
}

core::Lockout Tpm::lockout(const Caller& caller) {
  core::Lockout found;
  with_connection(caller, {}, [&](Work& work) { found = work.commands.lockout(); });
  return found;
}

void Tpm::require_no_failures(const Caller& caller, const std::string& object, const char* why) {
  with_connection(caller, object, [&](Work& work) {
    tpm2::require_no_failures(work.commands, why, "pin-source= in the URI or in openssl.cnf");
  });
}

// A wrong value is not for a second try: the TPM takes none until its recovery time has passed (TPM
// 2.0 Part 1, 19.8.5).
void Tpm::end_lockout(const Caller& caller, const Secret* lockout_value) {
  Subject lockout = subject(TPM2_RH_LOCKOUT, lockout_value);
  lockout.kind = Subject::Kind::kLockout;
  check_not_refused(lockout, place("lockout hierarchy"));
  with_connection(caller, "lockout hierarchy", [&](Work& work) {
    const Authorization auth = work.residency.authorization(work.commands, nullptr, lockout_value);
    try {
      work.commands.dictionary_attack_lock_reset(auth);
    } catch (const TpmError& error) {
      examine_refusal(work, error, lockout);
      throw;
    }
  });
}

void Tpm::remove_persistent(const Caller& caller, TPM2_HANDLE handle, const Bytes& name,
                            const Secret* owner_value) {
  const Subject owner = this->owner(owner_value);
  check_not_refused(owner, place(hex(handle)));
  with_connection(caller, hex(handle), [&](Work& work) {
    const Authorization owner_auth =
        work.residency.authorization(work.commands, nullptr, owner_value);
    const Entity object{handle, work.commands.read_public(handle).name};
    if (object.name != name)
      throw Error(Reason::kKeyChanged, "TPM2_ReadPublic:" + place_text(work.commands.place()) +
                                           ": another object sits at the handle now, and is not "
                                           "removed; look at it again");
    work.residency.forget_public();
    try {
      work.commands.evict_control(TPM2_RH_OWNER, owner_auth, object, handle);
    } catch (const TpmError& error) {
      examine_refusal(work, error, owner);
      throw;
    }
  });
}

}  // namespace hwid::tpm2
