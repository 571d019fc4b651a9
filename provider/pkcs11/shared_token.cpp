#include "provider/pkcs11/shared_token.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "provider/pkcs11/quirks.h"

namespace hwid::pkcs11 {

using core::Error;
using core::Reason;
using core::Secret;

namespace {

std::string identity_of(const Module& module, const CK_TOKEN_INFO& info) {
  return "pkcs11:" + module.path() + "#" + padded_text(info.label) + "#" +
         padded_text(info.serialNumber);
}

bool same_token(const CK_TOKEN_INFO& a, const CK_TOKEN_INFO& b) {
  return padded_text(a.label) == padded_text(b.label) &&
         padded_text(a.serialNumber) == padded_text(b.serialNumber);
}

bool has_pin(const core::PinChain& pins) {
  return pins.configured_value != nullptr || pins.configured_source != nullptr;
}

}  // namespace

CK_RV token_info(const Module::Use& use, CK_SLOT_ID slot, CK_TOKEN_INFO& info) {
  constexpr int kMostTries = 50;
  constexpr std::chrono::milliseconds kPause{2};
  const auto is_incomplete = [&] {
    return (info.flags & CKF_TOKEN_INITIALIZED) != 0 && padded_text(info.serialNumber).empty() &&
           quirks_of(info).has_serial_later;
  };
  CK_RV rv = use->C_GetTokenInfo(slot, &info);
  switch (rv) {
    case CKR_OK:
      break;
    case CKR_CRYPTOKI_NOT_INITIALIZED:
    case CKR_DEVICE_REMOVED:
    case CKR_SLOT_ID_INVALID:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_TOKEN_NOT_RECOGNIZED:
      return rv;
    default:
      rv = use->C_GetTokenInfo(slot, &info);
  }
  for (int tries = 1; rv == CKR_OK && tries < kMostTries && is_incomplete(); ++tries) {
    std::this_thread::sleep_for(kPause);
    rv = use->C_GetTokenInfo(slot, &info);
  }
  return rv;
}

std::shared_ptr<SharedToken> SharedToken::get(const std::shared_ptr<Module>& module,
                                              CK_SLOT_ID slot, const CK_TOKEN_INFO& info) {
  auto token = core::Process::get().shared<SharedToken>(
      identity_of(*module, info), [&] { return std::make_shared<SharedToken>(module, info); });
  {
    State& state = token->state_.get();
    const std::lock_guard lock(state.slot_mutex);
    state.slot = slot;
  }
  module->remember(token);
  return token;
}

SharedToken::SharedToken(std::shared_ptr<Module> module, const CK_TOKEN_INFO& info)
    : module_(std::move(module)),
      info_(info),
      place_{padded_text(info.label), {}, {}},
      identity_(identity_of(*module_, info)) {}

bool SharedToken::is_here() {
  State& state = state_.get();
  const std::lock_guard lock(state.slot_mutex);
  return state.slot.has_value();
}

bool SharedToken::needs_login(const TokenPolicy& policy) const noexcept {
  switch (policy.login) {
    case core::BackendConfig::Login::kAlways:
      return true;
    case core::BackendConfig::Login::kNever:
      return false;
    default:
      return (info_.flags & CKF_LOGIN_REQUIRED) != 0;
  }
}

SharedToken::Generations SharedToken::generations() {
  const std::uint64_t module = module_->use().generation();
  const SessionPool& pool = state_.get().pool;
  return {module, pool.generation(), pool.login_generation()};
}

bool SharedToken::is_another_loss(const TokenError& first, const TokenError& error,
                                  const Generations& before, int tries) {
  constexpr int kMostTries = 3;
  constexpr int kMostTriesBesideOthers = 8;
  const bool others_rebuild = generations() != before;
  if (tries >= (others_rebuild ? kMostTriesBesideOthers : kMostTries)) return false;
  const bool may_be_broken = error.rv == CKR_DEVICE_ERROR || error.reason == Reason::kTokenRemoved;
  return error.module_is_lost || !may_be_broken || first.rv != error.rv || others_rebuild;
}

Lease SharedToken::lease_session(const SessionRequest& request, bool again) {
  const std::uint64_t login = state_.get().pool.login_generation();
  if (request.login) log_in(request.credentials, again);
  Lease lease = acquire(request.credentials, request.read_write);
  lease.logged_in_at(login);
  return lease;
}

Lease SharedToken::acquire(const Credentials& credentials, bool read_write) {
  Module::Use use = module_->use();
  SessionPool::Request request{slot(use), credentials.policy.max_sessions, read_write, place_,
                               credentials.log};
  const CK_ULONG most = info_.ulMaxSessionCount;
  if (most != CK_EFFECTIVELY_INFINITE && most != CK_UNAVAILABLE_INFORMATION)
    request.limit = std::min<std::size_t>(request.limit, most);
  return state_.get().pool.acquire(std::move(use), request);
}

CK_SLOT_ID SharedToken::slot(const Module::Use& use) {
  State& state = state_.get();
  {
    const std::lock_guard lock(state.slot_mutex);
    if (state.slot) return *state.slot;
  }
  for (const CK_SLOT_ID candidate : slots_with_token(use, place_)) {
    CK_TOKEN_INFO info{};
    if (token_info(use, candidate, info) != CKR_OK || !same_token(info, info_)) continue;
    const std::lock_guard lock(state.slot_mutex);
    state.slot = candidate;
    return candidate;
  }
  raise(CKR_TOKEN_NOT_PRESENT, "C_GetSlotList", place_);
}

void SharedToken::forget_slot() {
  State& state = state_.get();
  const std::lock_guard lock(state.slot_mutex);
  state.slot.reset();
}

bool SharedToken::heal(const TokenError& error, const Generations& before,
                       const Credentials& credentials) {
  SessionPool& pool = state_.get().pool;
  if (error.module_is_lost && !module_->start_anew(before.module)) return false;
  switch (error.rv) {
    case CKR_OBJECT_HANDLE_INVALID:
    case CKR_KEY_HANDLE_INVALID:
      check_login(before, credentials);  // SoftHSM answers this when somebody has logged out
      break;
    case CKR_OPERATION_ACTIVE:           // that session was closed
    case CKR_OPERATION_NOT_INITIALIZED:  // likewise: another thread's call ended the operation
      break;
    case CKR_USER_NOT_LOGGED_IN:
      pool.lose_login(before.login);
      break;
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_SESSION_CLOSED:
    case CKR_DEVICE_ERROR:
      // Started anew, the module's sessions are gone, and their numbers given out again.
      if (pool.reset(before.sessions, *module_, !error.module_is_lost)) forget_slot();
      break;
    case CKR_CRYPTOKI_NOT_INITIALIZED:
      module_->forget_initialization(before.module);
      [[fallthrough]];
    case CKR_DEVICE_REMOVED:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_TOKEN_NOT_RECOGNIZED:
    case CKR_SLOT_ID_INVALID:
      // The slot also where somebody began anew meanwhile, and so knew nothing of the token.
      pool.reset(before.sessions, *module_, false);
      forget_slot();
      break;
    default:
      return false;
  }
  HWID_LOG(credentials.log, kInfo, std::string("trying once more: ") + error.what());
  return true;
}

void SharedToken::check_login(const Generations& before, const Credentials& credentials) {
  SessionPool& pool = state_.get().pool;
  if (!pool.logged_in()) return;
  try {
    Lease lease = acquire(credentials, false);
    require_user(lease);
  } catch (const TokenError& error) {
    if (error.rv == CKR_USER_NOT_LOGGED_IN) pool.lose_login(before.login);
  }
}

void SharedToken::require_user(Lease& lease) const {
  CK_SESSION_INFO info{};
  check(lease->C_GetSessionInfo(lease.session(), &info), "C_GetSessionInfo", place_);
  const bool is_user = info.state == CKS_RO_USER_FUNCTIONS || info.state == CKS_RW_USER_FUNCTIONS;
  if (!is_user) raise(CKR_USER_NOT_LOGGED_IN, "C_GetSessionInfo", place_);
  // Another thread rebuilds: this login is good, and must not be taken for lost.
  if (!lease.is_logged_in()) raise(CKR_OBJECT_HANDLE_INVALID, "C_FindObjects", place_);
}

// Where the token is simply not there, what happened first says more.
void SharedToken::report(const TokenError& first, const TokenError& second) {
  throw second.reason == Reason::kTokenRemoved ? first : second;
}

const std::vector<CK_MECHANISM_TYPE>& SharedToken::mechanisms(Lease& lease) {
  constexpr CK_ULONG kMostMechanisms = 65536;
  if (const auto* known = known_mechanisms()) return *known;
  const CK_SLOT_ID where = slot(lease.use());
  std::vector<CK_MECHANISM_TYPE> list(256);
  for (;;) {
    CK_ULONG count = list.size();
    CK_RV rv = lease->C_GetMechanismList(where, list.data(), &count);
    if (rv == CKR_OK && count <= list.size()) {
      list.resize(count);
      break;
    }
    if (rv != CKR_BUFFER_TOO_SMALL || list.size() >= kMostMechanisms) {
      if (rv == CKR_OK) rv = CKR_BUFFER_TOO_SMALL;  // it claims more than there was room for
      raise(rv, "C_GetMechanismList", place_);
    }
    list.resize(list.size() * 4);
  }
  auto fresh = std::make_unique<std::vector<CK_MECHANISM_TYPE>>(std::move(list));
  std::vector<CK_MECHANISM_TYPE>* seen = nullptr;
  if (mechanisms_.compare_exchange_strong(seen, fresh.get(), std::memory_order_acq_rel))
    return *fresh.release();
  return *seen;
}

void SharedToken::quiesce() noexcept { state_.get().pool.close_idle(*module_); }

SharedToken::Hold::Hold(std::shared_ptr<SharedToken> token, KeptPin::For what) noexcept
    : token_(std::move(token)), what_(what), epoch_(core::Process::get().fork_epoch()) {
  token_->state_.get().pin.hold(what_);
}

SharedToken::Hold::~Hold() {
  token_->state_.get().pin.let_go(what_, epoch_ != core::Process::get().fork_epoch());
}

// Where the PIN comes from: what is in use, then what this open brought. Null for a PIN pad.
std::optional<Secret> SharedToken::obtain_pin(const Credentials& credentials) {
  if (has_pin_pad()) return std::nullopt;
  std::optional<Secret> pin = state_.get().pin.get();
  if (!pin && credentials.pins != nullptr) pin = credentials.pins->obtain("token " + label());
  if (pin) return pin;
  throw Error(Reason::kPinMissing,
              "C_Login:" + place_text(place_) +
                  (credentials.pins == nullptr
                       ? ": a login is needed again, and no PIN is kept (cache-pin = no, it was "
                         "refused, or "
                         "the URI that brought it is closed); open the key again with its PIN"
                       : ": a PIN is needed, and nobody can be asked for it; give "
                         "?pin-source=file:PATH in the URI, or pin-source in the configuration"));
}

core::AuditEvent SharedToken::login_event() const {
  return {.operation = core::audit_field::kLogin, .backend = "pkcs11", .token = label()};
}

CK_TOKEN_INFO SharedToken::read_info(const Module::Use& use) {
  CK_TOKEN_INFO info{};
  check(use->C_GetTokenInfo(slot(use), &info), "C_GetTokenInfo", place_);
  return info;
}

// The token's state first: nobody is asked for the PIN of a locked token. Nothing of the module is
// in use while somebody is asked.
void SharedToken::log_in(const Credentials& credentials, bool again) {
  State& state = state_.get();
  if (state.pool.logged_in()) return;
  const Turn turn(state.gate);
  if (state.pool.logged_in()) return;  // another thread was first
  const bool fresh = credentials.fresh_info != nullptr && !again;
  const core::AuditEvent event = login_event();
  core::audited<core::Audited::kFailures>(credentials.audit, event, [&] {
    check_pin_state(fresh ? *credentials.fresh_info : read_info(module_->use()), credentials.policy,
                    place_);
  });
  const std::optional<Secret> pin = obtain_pin(credentials);
  State& now = state_.get();  // who was asked may have forked, and this be the child
  core::audited(credentials.audit, event, [&] {
    Lease lease = acquire(credentials, false);
    const std::uint64_t login = now.pool.login_generation();
    send_pin(lease, CKU_USER, pin, credentials.policy);
    now.pool.set_logged_in(login);
  });
  HWID_LOG(credentials.log, kDebug, "C_Login:" + place_text(place_) + ": logged in");
  if (pin && credentials.policy.cache_pin) now.pin.keep(*pin);
}

void SharedToken::send_pin(Lease& lease, CK_USER_TYPE user, const std::optional<Secret>& pin,
                           const TokenPolicy& policy) {
  core::RefusedPins& refused = core::Process::get().refused_pins();
  // Cards may have a PIN of its own for a key.
  const std::string identity = user == CKU_CONTEXT_SPECIFIC ? identity_ + "#context" : identity_;
  std::optional<core::RefusedPins::Try> one_at_a_time;  // nobody waits for who types at a PIN pad
  if (pin) one_at_a_time.emplace(refused, identity_);
  if (pin && refused.knows(identity, pin->reveal()))
    throw Error(Reason::kPinWrong, "CKR_PIN_INCORRECT",
                "C_Login:" + place_text(place_) +
                    ": this PIN was refused before, and is not sent again; correct it, and start "
                    "the program anew if the token's PIN was changed");
  // Who was first may have used up a try since the token's state was looked at.
  if (one_at_a_time && one_at_a_time->waited())
    check_pin_state(read_info(lease.use()), policy, place_);
  // C_Login takes a pointer to non-const and writes nothing.
  auto* const bytes = pin ? const_cast<CK_UTF8CHAR_PTR>(pin->reveal().data()) : nullptr;
  const CK_RV rv = lease->C_Login(lease.session(), user, bytes, pin ? pin->size() : 0);
  if (rv == CKR_OK) {
    refused.forget(identity);
    return;
  }
  if (rv == CKR_USER_ALREADY_LOGGED_IN) return;
  CK_TOKEN_INFO after{};
  if (is_refusal(rv)) {
    if (pin) refused.remember(identity, pin->reveal());
    state_.get().pin.drop();
    (void)lease->C_GetTokenInfo(slot(lease.use()), &after);
  }
  raise_login_failure(rv, after.flags, place_);
}

void SharedToken::log_in_for_operation(Lease& lease, const Credentials& credentials) {
  Credentials with = credentials;
  if (with.pins == nullptr && has_pin(with.policy.configured)) with.pins = &with.policy.configured;
  const std::optional<Secret> pin = obtain_pin(with);
  core::audited(credentials.audit, login_event(),
                [&] { send_pin(lease, CKU_CONTEXT_SPECIFIC, pin, with.policy); });
}

void SharedToken::keep_pin(const Credentials& credentials) {
  KeptPin& kept = state_.get().pin;
  if (has_pin_pad() || !credentials.policy.cache_pin || credentials.pins == nullptr || kept.get())
    return;
  try {
    if (const std::optional<Secret> pin = credentials.pins->obtain("token " + label()))
      kept.keep(*pin);
  } catch (const Error& error) {
    HWID_LOG(credentials.log, kInfo, std::string("no PIN to keep: ") + error.what());
  }
}

}  // namespace hwid::pkcs11
