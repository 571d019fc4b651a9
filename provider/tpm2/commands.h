// The commands of TPM 2.0 Part 3 that we send, typed.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "provider/core/inventory.h"
#include "provider/tpm2/connection.h"
#include "provider/tpm2/pcr.h"

namespace hwid::tpm2 {

struct PublicObject {
  TPMT_PUBLIC public_area{};
  core::Bytes name;  // computed from the public area, not what the TPM says
};

struct LoadedObject {
  Entity entity;
  TPMT_PUBLIC public_area{};
};

// What a TPM says of how a key was made, as it came, and its own proof that it did.
struct CreationProof {
  core::Bytes data;  // TPMS_CREATION_DATA
  core::Bytes hash;
  TPMT_TK_CREATION ticket{};
};

// A new key as the TPM hands it out, wrapped for its parent.
struct CreatedObject {
  TPM2B_PUBLIC public_area{};
  TPM2B_PRIVATE private_area{};
  CreationProof creation;
};

// A key that left its TPM (Part 3, 13.1). Without a new parent it is in clear.
struct Duplicate {
  core::Secret encryption_key;  // of the inner wrapper; empty where the caller brought one, or none
  core::Secret private_area;
  core::Bytes seed;
};

// What a TPM says about itself or a key, TPMS_ATTEST as it came, and the signature under it.
struct Attested {
  core::Bytes attest;
  TPMT_SIGNATURE signature{};
};

// An NV index as the TPM describes it. Its name changes with the attributes, so with the first
// write.
struct NvPublic {
  TPMS_NV_PUBLIC area{};
  core::Bytes name;  // computed from `area`, not what the TPM says
};

struct HashedMessage {
  TPM2B_DIGEST digest{};
  TPMT_TK_HASHCHECK ticket{};  // says that the TPM hashed it, and that it may be signed
};

// A session to be started.
struct SessionKind {
  TPM2_SE type = TPM2_SE_HMAC;
  TPMI_ALG_HASH hash = TPM2_ALG_SHA256;
  // What salts it, so that nobody on the bus learns its key; null: nothing does.
  TPM2_HANDLE salt_key = TPM2_RH_NULL;
  const TPMT_PUBLIC* salt_public = nullptr;
};

// Made for a few commands on one connection: borrows all that it is given. Not thread-safe. Every
// method is one command, throws TpmError, and compares what the TPM answers with what it can know.
class Commands {
 public:
  Commands(Connection& connection, const core::Libcrypto& crypto, const Place& place)
      : connection_(connection), crypto_(&crypto), place_(place) {}
  // For flush() alone, where no library context is left.
  Commands(Connection& connection, const Place& place)
      : connection_(connection), crypto_(nullptr), place_(place) {}

  const Place& place() const noexcept { return place_; }

  // Objects.
  PublicObject read_public(TPM2_HANDLE handle);
  // `name` is what the key must have; throws kKeyChanged if the TPM says otherwise.
  Entity load(const Entity& parent, const Authorization& auth, const TPM2B_PUBLIC& public_area,
              const TPM2B_PRIVATE& private_area, const core::Bytes& name);
  // A key that was duplicated for `parent`, without inner wrapper, as load() takes it.
  TPM2B_PRIVATE import(const Entity& parent, const Authorization& auth,
                       const TPM2B_PUBLIC& public_area, const TPM2B_PRIVATE& duplicate,
                       const TPM2B_ENCRYPTED_SECRET& seed);
  void flush(TPM2_HANDLE handle);  // a transient object or a session
  // The same of what somebody else may have flushed: throws only where the TPM was not reached.
  void flush_if_there(TPM2_HANDLE handle);
  core::Bytes context_save(TPM2_HANDLE handle);
  TPM2_HANDLE context_load(const core::Bytes& context);

  // Use of keys. A null ticket is for digests that were made elsewhere.
  TPMT_SIGNATURE sign(const Entity& key, const Authorization& auth, const TPM2B_DIGEST& digest,
                      const TPMT_SIG_SCHEME& scheme, const TPMT_TK_HASHCHECK* ticket = nullptr);
  core::Secret rsa_decrypt(const Entity& key, const Authorization& auth, core::ByteView input,
                           const TPMT_RSA_DECRYPT& scheme, core::ByteView label = {});
  // The x coordinate of the shared point, as the TPM gives it: leading zeros may be missing.
  core::Secret ecdh_zgen(const Entity& key, const Authorization& auth, const TPMS_ECC_POINT& point);

  // Hashing by the TPM itself, for restricted keys. hash: at most kMostBuffer bytes.
  static constexpr std::size_t kMostBuffer = 1024;  // TPM2_MAX_DIGEST_BUFFER
  HashedMessage hash(core::ByteView data, TPMI_ALG_HASH algorithm, TPMI_RH_HIERARCHY hierarchy);
  TPM2_HANDLE hash_sequence_start(TPMI_ALG_HASH algorithm);
  void sequence_update(TPM2_HANDLE sequence, core::ByteView data);
  HashedMessage sequence_complete(TPM2_HANDLE sequence, core::ByteView data,
                                  TPMI_RH_HIERARCHY hierarchy);  // the sequence is gone then

  // Making keys. A new auth value needs a session in `auth`, which hides it. Both throw kKeyChanged
  // where the TPM says that it made another kind of key than was wanted.
  CreatedObject create(const Entity& parent, const Authorization& auth,
                       const core::Secret* new_auth, const TPMT_PUBLIC& wanted);
  LoadedObject create_primary(TPMI_RH_HIERARCHY hierarchy, const Authorization& auth,
                              const TPMT_PUBLIC& wanted);
  // Makes `object` persistent at `handle`, or removes it if it is the persistent one itself.
  void evict_control(TPMI_RH_PROVISION hierarchy, const Authorization& auth, const Entity& object,
                     TPM2_HANDLE handle);

  AuthSession start_session(const SessionKind& kind);

  // Policies: in the session, whose digest each extends (policy_commands.cpp). What is not met is
  // an error of the statement itself, except for values of the auth area.
  // A statement of which nothing but its marshalled parameters is to be known.
  void policy_statement(TPM2_CC code, const char* call, TPM2_HANDLE session,
                        core::ByteView parameters = {});
  // `digest`: of the values; empty: whatever the PCRs have.
  void policy_pcr(TPM2_HANDLE session, core::ByteView digest, const TPML_PCR_SELECTION& pcrs);
  void policy_or(TPM2_HANDLE session, std::span<const core::Bytes> digests);
  // Without nonce and cpHash: what was signed holds for every session.
  void policy_signed(const Entity& signer, TPM2_HANDLE session, core::ByteView policy_ref,
                     std::int32_t expiration, const TPMT_SIGNATURE& signature);
  void policy_counter_timer(TPM2_HANDLE session, core::ByteView operand, std::uint16_t offset,
                            std::uint16_t operation);
  void policy_secret(const Entity& object, const Authorization& auth, TPM2_HANDLE session,
                     core::ByteView policy_ref);
  void policy_authorize(TPM2_HANDLE session, core::ByteView approved, core::ByteView policy_ref,
                        core::ByteView signer_name, const TPMT_TK_VERIFIED& ticket);
  core::Bytes policy_digest(TPM2_HANDLE session);
  // A public key of the owner's hierarchy, whose tickets others than itself believe.
  Entity load_external(const TPM2B_PUBLIC& public_area);
  TPMT_TK_VERIFIED verify_signature(const Entity& key, core::ByteView digest,
                                    const TPMT_SIGNATURE& signature);
  // The values of the selected PCRs, in the order of the selection, and what of it the TPM has.
  std::vector<PcrValue> pcr_read(const TPML_PCR_SELECTION& pcrs);

  // NV memory (commands_nv.cpp). `by`: on whose behalf, the owner hierarchy's or the index's own.
  NvPublic nv_read_public(TPM2_HANDLE index);
  // `size`: at most nv_buffer_size(). Throws also where the TPM answers with fewer bytes.
  core::Bytes nv_read(const Entity& by, const Authorization& auth, const Entity& index,
                      std::uint16_t size, std::uint16_t offset);
  void nv_write(const Entity& by, const Authorization& auth, const Entity& index,
                core::ByteView data, std::uint16_t offset);
  // On behalf of the owner. `new_auth`: the auth value of the index; null: none.
  void nv_define_space(const Authorization& owner_auth, const core::Secret* new_auth,
                       const TPMS_NV_PUBLIC& wanted);
  void nv_undefine_space(const Authorization& owner_auth, const Entity& index);
  std::size_t nv_buffer_size();  // how much one command reads or writes

  // Trying whether a key can leave its TPM, with a policy session that allows that command and
  // nothing else, which is flushed. `new_parent`: of a storage key that is loaded, or
  // TPM2_RH_NULL; with `inner_wrapper` the TPM encrypts under a key of its choice besides. The
  // TPM's refusal is a TpmError. Three commands.
  Duplicate duplicate(const Entity& key, const Entity& new_parent, bool inner_wrapper);

  // Attestation (Part 3, 18 and 12.5; commands_attest.cpp). `signer`: a key with a scheme of its
  // own. `nonce`: what the verifier wants to find in it, at most as long as a TPM's digests.
  Attested certify(const Entity& object, const Authorization& object_auth, const Entity& signer,
                   const Authorization& auth, core::ByteView nonce);
  Attested certify_creation(const Entity& signer, const Authorization& auth, const Entity& object,
                            core::ByteView nonce, core::ByteView creation_hash,
                            const TPMT_TK_CREATION& ticket);
  Attested quote(const Entity& signer, const Authorization& auth, core::ByteView nonce,
                 const TPML_PCR_SELECTION& pcrs);
  // The secret that was made for `object` beside `key`. `hides`: a session that encrypts it on the
  // bus; null: none does.
  core::Secret activate_credential(const Entity& object, const Authorization& object_auth,
                                   const Entity& key, const Authorization& auth,
                                   core::ByteView blob, const TPM2B_ENCRYPTED_SECRET& secret,
                                   AuthSession* hides);

  // The TPM itself. `session` hides the bytes.
  core::Secret get_random(std::size_t size, AuthSession* session = nullptr);
  // Handles of one kind (TPM2_TRANSIENT_FIRST, TPM2_PERSISTENT_FIRST, TPM2_LOADED_SESSION_FIRST),
  // from `first` on.
  std::vector<TPM2_HANDLE> handles(TPM2_HANDLE first);
  std::map<TPM2_PT, std::uint32_t> properties(TPM2_PT first, std::uint32_t count);
  core::Lockout lockout();
  void dictionary_attack_lock_reset(const Authorization& lockout_auth);
  // Whether the owner hierarchy has an auth value.
  bool owner_has_value();

 private:
  Command command(TPM2_CC code, const char* call) const { return {code, call, place_}; }
  // Sends a command of one authorized handle.
  Response authorized(Command& command, const Authorization& auth, bool decrypt, bool encrypt,
                      bool has_handle = false);
  // Of two, which may have no session in common; `hides` encrypts the first parameter of the
  // answer.
  Response authorized_pair(Command& command, const Authorization& first,
                           const Authorization& second, AuthSession* hides = nullptr);
  Response plain(Command& command, bool has_handle = false) {
    return connection_.transact(command, {}, crypto_, has_handle);
  }
  // Reads the answer that came with `loaded`, an object or a session: where it is not taken, that
  // does not stay in the TPM.
  template <typename Read>
  void read_or_flush(TPM2_HANDLE loaded, Read&& read) {
    try {
      read();
    } catch (const core::Error&) {
      flush_if_there(loaded);
      throw;
    }
  }
  void put_sensitive(Command& command, const core::Secret* new_auth) const;
  void require_hidden(const Command& command, const Authorization& auth,
                      const core::Secret* new_auth) const;
  void require_wanted(const Command& command, const TPMT_PUBLIC& made,
                      const TPMT_PUBLIC& wanted) const;
  Response capability(TPM2_CAP capability, std::uint32_t first, std::uint32_t count, bool& more);

  Connection& connection_;
  const core::Libcrypto* crypto_;
  const Place& place_;
};

}  // namespace hwid::tpm2
