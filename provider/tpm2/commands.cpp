#include "provider/tpm2/commands.h"

#include <algorithm>
#include <array>

#include "provider/tpm2/public_area.h"

namespace hwid::tpm2 {

using core::Bytes;
using core::ByteView;
using core::Error;
using core::Reason;
using core::Secret;

namespace {

constexpr TPMT_TK_HASHCHECK kNoTicket{TPM2_ST_HASHCHECK, TPM2_RH_NULL, {}};
constexpr TPML_PCR_SELECTION kNoPcrs{};

template <typename Buffer>
ByteView view(const Buffer& sized) noexcept {
  return {sized.buffer, sized.size};
}

HashedMessage take_hashed(Response& response) {
  HashedMessage hashed;
  hashed.digest = response.take(Tss2_MU_TPM2B_DIGEST_Unmarshal);
  hashed.ticket = response.take(Tss2_MU_TPMT_TK_HASHCHECK_Unmarshal);
  response.finish();
  return hashed;
}

Bytes copy(ByteView bytes) { return {bytes.begin(), bytes.end()}; }

}  // namespace

Response Commands::authorized(Command& command, const Authorization& auth, bool decrypt,
                              bool encrypt, bool has_handle) {
  const AuthSession* const hides = auth.policy != nullptr ? auth.policy : auth.session;
  if (hides == nullptr && !auth.in_clear && has_value(auth.value))
    throw Error(Reason::kInternal, std::string(command.call()) + place_text(place_) +
                                       ": an auth value without a session would go over the bus in "
                                       "clear; this is a mistake of the program");
  if (auth.policy == nullptr) {
    SessionUse use{auth.session, auth.value};
    use.decrypt = decrypt && auth.session != nullptr;
    use.encrypt = encrypt && auth.session != nullptr;
    return connection_.transact(command, {&use, 1}, crypto_, has_handle);
  }
  // A parameter is not hidden by the policy's own session: that would take the auth value of the
  // key, which not every policy asks for (Part 1, 21.2). And a second one must do something.
  std::array<SessionUse, 2> uses{};
  uses[0] = {auth.policy, auth.value, auth.in_clear};
  uses[1] = {auth.session, nullptr, false, decrypt || !encrypt, encrypt};
  return connection_.transact(command, {uses.data(), auth.session != nullptr ? 2U : 1U}, crypto_,
                              has_handle);
}

PublicObject Commands::read_public(TPM2_HANDLE handle) {
  Command read = command(TPM2_CC_ReadPublic, "TPM2_ReadPublic");
  read.handle(handle);
  Response response = plain(read);
  PublicObject object;
  object.public_area = response.take_sized(Tss2_MU_TPMT_PUBLIC_Unmarshal);
  response.take_sized_bytes();  // name
  response.take_sized_bytes();  // qualified name
  response.finish();
  object.name = object_name(*crypto_, object.public_area);
  return object;
}

Entity Commands::load(const Entity& parent, const Authorization& auth,
                      const TPM2B_PUBLIC& public_area, const TPM2B_PRIVATE& private_area,
                      const Bytes& name) {
  Command load = command(TPM2_CC_Load, "TPM2_Load");
  load.handle(parent)
      .put(Tss2_MU_TPM2B_PRIVATE_Marshal, private_area)
      .put(Tss2_MU_TPM2B_PUBLIC_Marshal, public_area);
  Response response = authorized(load, auth, false, false, true);
  read_or_flush(response.handle(), [&] {
    const ByteView answered = response.take_sized_bytes();
    response.finish();
    if (!std::ranges::equal(answered, name))
      raise(Reason::kKeyChanged, kMalformedResponse, load.call(), place_,
            "the TPM loaded another key than it was given; look for whatever stands between it and "
            "this program");
  });
  return {response.handle(), name};
}

TPM2B_PRIVATE Commands::import(const Entity& parent, const Authorization& auth,
                               const TPM2B_PUBLIC& public_area, const TPM2B_PRIVATE& duplicate,
                               const TPM2B_ENCRYPTED_SECRET& seed) {
  Command import = command(TPM2_CC_Import, "TPM2_Import");
  import.handle(parent)
      .put_sized({})  // key of the inner wrapper
      .put(Tss2_MU_TPM2B_PUBLIC_Marshal, public_area)
      .put(Tss2_MU_TPM2B_PRIVATE_Marshal, duplicate)
      .put(Tss2_MU_TPM2B_ENCRYPTED_SECRET_Marshal, seed)
      .put16(TPM2_ALG_NULL);
  Response response = authorized(import, auth, false, false);
  const auto wrapped = response.take(Tss2_MU_TPM2B_PRIVATE_Unmarshal);
  response.finish();
  return wrapped;
}

void Commands::flush(TPM2_HANDLE handle) {
  Command flush = command(TPM2_CC_FlushContext, "TPM2_FlushContext");
  flush.put32(handle);  // a parameter, as the standard has it
  plain(flush).finish();
}

void Commands::flush_if_there(TPM2_HANDLE handle) {
  try {
    flush(handle);
  } catch (const TpmError& error) {
    if (is_tcti_error(error.rc)) throw;
  }
}

Bytes Commands::context_save(TPM2_HANDLE handle) {
  Command save = command(TPM2_CC_ContextSave, "TPM2_ContextSave");
  save.handle(handle);
  return plain(save).take_rest();
}

TPM2_HANDLE Commands::context_load(const Bytes& context) {
  Command load = command(TPM2_CC_ContextLoad, "TPM2_ContextLoad");
  for (const std::uint8_t byte : context) load.put8(byte);
  const Response response = plain(load, true);
  response.finish();
  return response.handle();
}

TPMT_SIGNATURE Commands::sign(const Entity& key, const Authorization& auth,
                              const TPM2B_DIGEST& digest, const TPMT_SIG_SCHEME& scheme,
                              const TPMT_TK_HASHCHECK* ticket) {
  Command sign = command(TPM2_CC_Sign, "TPM2_Sign");
  sign.handle(key)
      .put(Tss2_MU_TPM2B_DIGEST_Marshal, digest)
      .put(Tss2_MU_TPMT_SIG_SCHEME_Marshal, scheme)
      .put(Tss2_MU_TPMT_TK_HASHCHECK_Marshal, ticket != nullptr ? *ticket : kNoTicket);
  Response response = authorized(sign, auth, false, false);
  const auto signature = response.take(Tss2_MU_TPMT_SIGNATURE_Unmarshal);
  response.finish();
  return signature;
}

Secret Commands::rsa_decrypt(const Entity& key, const Authorization& auth, ByteView input,
                             const TPMT_RSA_DECRYPT& scheme, ByteView label) {
  Command decrypt = command(TPM2_CC_RSA_Decrypt, "TPM2_RSA_Decrypt");
  decrypt.handle(key)
      .put_sized(input)
      .put(Tss2_MU_TPMT_RSA_DECRYPT_Marshal, scheme)
      .put_sized(label);
  Response response = authorized(decrypt, auth, false, true);
  Secret plain_text(response.take_sized_bytes());
  response.finish();
  return plain_text;
}

Secret Commands::ecdh_zgen(const Entity& key, const Authorization& auth,
                           const TPMS_ECC_POINT& point) {
  Command zgen = command(TPM2_CC_ECDH_ZGen, "TPM2_ECDH_ZGen");
  TPM2B_ECC_POINT in{};
  in.point = point;
  zgen.handle(key).put(Tss2_MU_TPM2B_ECC_POINT_Marshal, in);
  Response response = authorized(zgen, auth, false, true);
  const std::size_t size = response.take16();
  Secret x(response.take_sized_bytes());
  const ByteView y = response.take_sized_bytes();
  if (size != 4 + x.size() + y.size()) response.fail();
  response.finish();
  return x;
}

HashedMessage Commands::hash(ByteView data, TPMI_ALG_HASH algorithm, TPMI_RH_HIERARCHY hierarchy) {
  Command hash = command(TPM2_CC_Hash, "TPM2_Hash");
  hash.put_sized(data).put16(algorithm).put32(hierarchy);
  Response response = plain(hash);
  return take_hashed(response);
}

TPM2_HANDLE Commands::hash_sequence_start(TPMI_ALG_HASH algorithm) {
  Command start = command(TPM2_CC_HashSequenceStart, "TPM2_HashSequenceStart");
  start.put_sized({}).put16(algorithm);
  const Response response = plain(start, true);
  response.finish();
  return response.handle();
}

void Commands::sequence_update(TPM2_HANDLE sequence, ByteView data) {
  Command update = command(TPM2_CC_SequenceUpdate, "TPM2_SequenceUpdate");
  update.handle(sequence).put_sized(data);
  authorized(update, {}, false, false).finish();
}

HashedMessage Commands::sequence_complete(TPM2_HANDLE sequence, ByteView data,
                                          TPMI_RH_HIERARCHY hierarchy) {
  Command complete = command(TPM2_CC_SequenceComplete, "TPM2_SequenceComplete");
  complete.handle(sequence).put_sized(data).put32(hierarchy);
  Response response = authorized(complete, {}, false, false);
  return take_hashed(response);
}

// TPM2B_SENSITIVE_CREATE, written from the secret itself: the structure of tpm2-tss is plain
// memory.
void Commands::put_sensitive(Command& command, const Secret* new_auth) const {
  const ByteView value = trimmed(new_auth);
  command.put16(static_cast<std::uint16_t>(4 + value.size())).put_sized(value).put_sized({});
}

void Commands::require_hidden(const Command& command, const Authorization& auth,
                              const Secret* new_auth) const {
  if (auth.session == nullptr && !auth.in_clear && has_value(new_auth))
    throw Error(Reason::kInternal, std::string(command.call()) + place_text(place_) +
                                       ": a new auth value needs a session; this is a mistake of "
                                       "the program");
}

void Commands::require_wanted(const Command& command, const TPMT_PUBLIC& made,
                              const TPMT_PUBLIC& wanted) const {
  if (matches_template(made, wanted)) return;
  raise(Reason::kKeyChanged, kMalformedResponse, command.call(), place_,
        "the TPM made another kind of key than it was asked for, which is not used; look for "
        "whatever stands between it and this program");
}

CreatedObject Commands::create(const Entity& parent, const Authorization& auth,
                               const Secret* new_auth, const TPMT_PUBLIC& wanted) {
  Command create = command(TPM2_CC_Create, "TPM2_Create");
  require_hidden(create, auth, new_auth);
  create.handle(parent);
  put_sensitive(create, new_auth);
  create.put(Tss2_MU_TPM2B_PUBLIC_Marshal, TPM2B_PUBLIC{0, wanted})
      .put_sized({})
      .put(Tss2_MU_TPML_PCR_SELECTION_Marshal, kNoPcrs);
  Response response = authorized(create, auth, true, false);
  CreatedObject made;
  made.private_area = response.take(Tss2_MU_TPM2B_PRIVATE_Unmarshal);
  made.public_area.publicArea = response.take_sized(Tss2_MU_TPMT_PUBLIC_Unmarshal);
  made.creation.data = copy(response.take_sized_bytes());
  made.creation.hash = copy(response.take_sized_bytes());
  made.creation.ticket = response.take(Tss2_MU_TPMT_TK_CREATION_Unmarshal);
  response.finish();
  require_wanted(create, made.public_area.publicArea, wanted);
  return made;
}

LoadedObject Commands::create_primary(TPMI_RH_HIERARCHY hierarchy, const Authorization& auth,
                                      const TPMT_PUBLIC& wanted) {
  Command create = command(TPM2_CC_CreatePrimary, "TPM2_CreatePrimary");
  create.handle({hierarchy, handle_name(hierarchy)});
  put_sensitive(create, nullptr);
  create.put(Tss2_MU_TPM2B_PUBLIC_Marshal, TPM2B_PUBLIC{0, wanted})
      .put_sized({})
      .put(Tss2_MU_TPML_PCR_SELECTION_Marshal, kNoPcrs);
  Response response = authorized(create, auth, true, false, true);
  LoadedObject made;
  made.entity.handle = response.handle();
  read_or_flush(made.entity.handle, [&] {
    made.public_area = response.take_sized(Tss2_MU_TPMT_PUBLIC_Unmarshal);
    response.take_sized_bytes();  // creation data
    response.take_sized_bytes();  // creation hash
    response.take(Tss2_MU_TPMT_TK_CREATION_Unmarshal);
    response.take_sized_bytes();  // name
    response.finish();
    require_wanted(create, made.public_area, wanted);
    made.entity.name = object_name(*crypto_, made.public_area);
  });
  return made;
}

void Commands::evict_control(TPMI_RH_PROVISION hierarchy, const Authorization& auth,
                             const Entity& object, TPM2_HANDLE handle) {
  Command evict = command(TPM2_CC_EvictControl, "TPM2_EvictControl");
  evict.handle({hierarchy, handle_name(hierarchy)}).handle(object).put32(handle);
  authorized(evict, auth, false, false).finish();
}

AuthSession Commands::start_session(const SessionKind& kind) {
  const SessionCrypto session_crypto(*crypto_, kind.hash);
  Salt salt{};
  if (kind.salt_public != nullptr) salt = make_salt(*crypto_, *kind.salt_public);
  Bytes nonce_caller(session_crypto.digest_size());
  session_crypto.random(nonce_caller);
  TPMT_SYM_DEF symmetric{};
  symmetric.algorithm = kind.salt_public != nullptr ? TPM2_ALG_AES : TPM2_ALG_NULL;
  symmetric.keyBits.aes = kSessionKeyBits;
  symmetric.mode.aes = TPM2_ALG_CFB;
  Command start = command(TPM2_CC_StartAuthSession, "TPM2_StartAuthSession");
  start.handle(kind.salt_key)
      .handle(TPM2_RH_NULL)
      .put_sized(nonce_caller)
      .put_sized({salt.encrypted.secret, salt.encrypted.size})
      .put8(kind.type)
      .put(Tss2_MU_TPMT_SYM_DEF_Marshal, symmetric)
      .put16(kind.hash);
  Response response = plain(start, true);
  AuthSession session;
  session.handle = response.handle();
  read_or_flush(session.handle, [&] {
    session.nonce_tpm = copy(response.take_sized_bytes());
    response.finish();
    session.hash = kind.hash;
    if (kind.salt_public != nullptr)
      session.key = session_crypto.kdfa(salt.value.reveal(), "ATH", session.nonce_tpm, nonce_caller,
                                        session_crypto.digest_size());
  });
  return session;
}

Secret Commands::get_random(std::size_t size, AuthSession* session) {
  Command random = command(TPM2_CC_GetRandom, "TPM2_GetRandom");
  random.put16(static_cast<std::uint16_t>(size));
  SessionUse use{session};
  use.encrypt = true;
  Response response =
      connection_.transact(random, {&use, session != nullptr ? std::size_t{1} : 0}, crypto_, false);
  Secret bytes(response.take_sized_bytes());
  response.finish();
  if (bytes.size() > size) response.fail();
  return bytes;
}

Response Commands::capability(TPM2_CAP capability, std::uint32_t first, std::uint32_t count,
                              bool& more) {
  Command get = command(TPM2_CC_GetCapability, "TPM2_GetCapability");
  get.put32(capability).put32(first).put32(count);
  Response response = plain(get);
  more = response.take8() != 0;
  if (response.take32() != capability) response.fail();
  return response;
}

std::vector<TPM2_HANDLE> Commands::handles(TPM2_HANDLE first) {
  constexpr std::uint32_t kAtOnce = 254;       // TPM2_MAX_CAP_HANDLES
  constexpr TPM2_HANDLE kNumber = 0x00ffffff;  // sessions of two kinds come in one list, by number
  std::vector<TPM2_HANDLE> all;
  TPM2_HANDLE from = first;
  for (bool more = true; more;) {
    Response response = capability(TPM2_CAP_HANDLES, from, kAtOnce, more);
    const std::uint32_t count = response.take32();
    for (std::uint32_t i = 0; i < count; ++i) {
      const TPM2_HANDLE handle = response.take32();
      if ((handle & kNumber) < (from & kNumber)) response.fail();
      all.push_back(handle);
      if ((handle & kNumber) == kNumber) more = false;  // the last there can be
      from = (first & ~kNumber) | ((handle + 1) & kNumber);
    }
    response.finish();
    if (count == 0) break;
  }
  return all;
}

std::map<TPM2_PT, std::uint32_t> Commands::properties(TPM2_PT first, std::uint32_t count) {
  bool more = false;
  Response response = capability(TPM2_CAP_TPM_PROPERTIES, first, count, more);
  std::map<TPM2_PT, std::uint32_t> values;
  for (std::uint32_t left = response.take32(); left > 0; --left) {
    const TPM2_PT property = response.take32();
    values[property] = response.take32();
  }
  response.finish();
  return values;
}

core::Lockout Commands::lockout() {
  auto values = properties(TPM2_PT_LOCKOUT_COUNTER, 4);
  core::Lockout lockout{values[TPM2_PT_LOCKOUT_COUNTER], values[TPM2_PT_MAX_AUTH_FAIL],
                        values[TPM2_PT_LOCKOUT_INTERVAL], values[TPM2_PT_LOCKOUT_RECOVERY], false};
  lockout.locked = lockout.failures >= lockout.most_failures;
  return lockout;
}

void Commands::dictionary_attack_lock_reset(const Authorization& lockout_auth) {
  Command reset = command(TPM2_CC_DictionaryAttackLockReset, "TPM2_DictionaryAttackLockReset");
  reset.handle({TPM2_RH_LOCKOUT, handle_name(TPM2_RH_LOCKOUT)});
  authorized(reset, lockout_auth, false, false).finish();
}

bool Commands::owner_has_value() {
  return (properties(TPM2_PT_PERMANENT, 1)[TPM2_PT_PERMANENT] & TPMA_PERMANENT_OWNERAUTHSET) != 0;
}

}  // namespace hwid::tpm2
