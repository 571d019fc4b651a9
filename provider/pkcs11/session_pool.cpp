#include "provider/pkcs11/session_pool.h"

#include <algorithm>

namespace hwid::pkcs11 {

using core::Error;
using core::Reason;

namespace {

constexpr std::chrono::seconds kPatience{30};
constexpr std::chrono::seconds kLoweredFor{1};

CK_RV open_session(const CK_FUNCTION_LIST* functions, CK_SLOT_ID slot, Session& session) {
  const CK_FLAGS flags = CKF_SERIAL_SESSION | (session.read_write ? CKF_RW_SESSION : 0);
  return functions->C_OpenSession(slot, flags, nullptr, nullptr, &session.handle);
}

}  // namespace

Lease::Lease(SessionPool& pool, Module::Use use, Session session, std::uint64_t ticket) noexcept
    : pool_(&pool),
      use_(std::move(use)),
      session_(session),
      ticket_(ticket),
      generation_(pool.generation()),
      login_generation_(pool.login_generation()) {}

Lease::Lease(Lease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      use_(std::move(other.use_)),
      session_(other.session_),
      ticket_(other.ticket_),
      generation_(other.generation_),
      login_generation_(other.login_generation_),
      active_(other.active_) {}

Lease::~Lease() {
  if (pool_ != nullptr) pool_->give_back(*this);
}

std::uint64_t Lease::handle_generation() const noexcept { return pool_->handle_generation(); }

bool Lease::is_logged_in() const noexcept { return login_generation_ == pool_->login_generation(); }

bool Lease::is_stale() const noexcept { return generation_ != pool_->generation(); }

bool SessionPool::may_open(std::size_t limit) const noexcept {
  const std::size_t sessions = open_ + opening_;
  return sessions < limit && (sessions < lowered_ || Clock::now() >= lowered_until_);
}

std::shared_mutex& Lease::searches() const noexcept { return pool_->searches_; }

Lease SessionPool::acquire(Module::Use use, const Request& request) {
  const auto deadline = Clock::now() + kPatience;
  std::unique_lock lock(mutex_);
  slot_ = request.slot;
  limit_ = request.limit;
  // Initialized anew meanwhile, for whichever token: numbers that we hold may be another's now.
  if (use.generation() > module_generation_) {
    if (module_generation_ != 0) forget_all();
    module_generation_ = use.generation();
  }
  outstanding_.reserve(outstanding_.size() + 1);  // so that leasing cannot fail
  const auto fits = [&](const Session& s) { return s.read_write || !request.read_write; };
  for (;;) {
    const auto found = std::find_if(idle_.rbegin(), idle_.rend(), fits);
    if (found != idle_.rend()) {
      const Session session = *found;
      leased_.push_back(session.handle);
      idle_.erase(std::next(found).base());
      return lease(std::move(use), session);
    }
    if (may_open(request.limit)) {
      Session session{CK_INVALID_HANDLE, request.read_write};
      const CK_RV rv = open(lock, use, request, session);
      if (rv == CKR_OK) {
        HWID_LOG(request.log, kDebug,
                 "C_OpenSession:" + place_text(request.place) + ": session " +
                     std::to_string(open_) + " of at most " + std::to_string(request.limit) +
                     (request.read_write ? ", to read and write" : ", to read"));
        return lease(std::move(use), session);
      }
      // Where other sessions of ours are open, one of them will do when it is free.
      if (rv != CKR_SESSION_COUNT || open_ + opening_ == 0)
        raise(rv, "C_OpenSession", request.place);
      lowered_ = open_ + opening_;
      lowered_until_ = Clock::now() + kLoweredFor;
    } else if (!idle_.empty()) {
      make_room(lock, use);
    } else if (Clock::now() < deadline) {
      const auto until =
          open_ + opening_ < request.limit ? std::min(deadline, lowered_until_) : deadline;
      freed_.wait_until(lock, until, [&] { return !idle_.empty() || may_open(request.limit); });
    } else {
      throw Error(Reason::kSessionLimit,
                  "C_OpenSession:" + place_text(request.place) + ": all " + std::to_string(open_) +
                      " sessions of this process were in use for 30 seconds; raise max-sessions, "
                      "or see what the token is waiting for");
    }
  }
}

Lease SessionPool::lease(Module::Use use, const Session& session) noexcept {
  outstanding_.push_back(next_ticket_);
  return Lease(*this, std::move(use), session, next_ticket_++);
}

// A read-only session makes room for one that may write: one without objects, where there is one.
void SessionPool::make_room(std::unique_lock<std::mutex>& lock, const Module::Use& use) {
  auto leaving = std::ranges::find(idle_, false, &Session::has_objects);
  if (leaving == idle_.end()) leaving = std::prev(idle_.end());
  const Session session = *leaving;
  idle_.erase(leaving);
  dispose(lock, use.operator->(), session, generation());
}

CK_RV SessionPool::open(std::unique_lock<std::mutex>& lock, const Module::Use& use,
                        const Request& request, Session& session) {
  idle_.reserve(open_ + opening_ + 1);  // so that giving back cannot fail
  leased_.reserve(open_ + opening_ + 1);
  retired_.reserve(open_ + opening_ + 1);
  ++opening_;
  lock.unlock();
  const std::shared_lock number(numbers_);
  const CK_RV rv = open_session(use.operator->(), request.slot, session);
  lock.lock();
  --opening_;
  if (rv == CKR_OK) {
    // A number that we hold already: the module was initialized anew, and all of ours are gone.
    if (is_current(session.handle)) forget_all();
    ++open_;
    leased_.push_back(session.handle);
  } else {
    freed_.notify_all();
  }
  return rv;
}

void SessionPool::give_back(Lease& lease) noexcept {
  std::unique_lock lock(mutex_);
  const CK_FUNCTION_LIST* const functions = lease.use_.operator->();
  const auto is_stale = [&] { return lease.generation_ != generation(); };
  std::erase(outstanding_, lease.ticket_);
  if (lease.active_ && !is_stale()) open_next(lock, lease);
  if (!is_stale()) {
    std::erase(leased_, lease.session_.handle);
    if (lease.active_)
      dispose(lock, functions, lease.session_, lease.generation_);
    else
      idle_.push_back(lease.session_);  // capacity was reserved when it was opened
  } else if (lease.generation_ >= oldest_alive_) {
    dispose(lock, functions, lease.session_, lease.generation_);
  }
  close_retired(lock, functions);
  lock.unlock();
  freed_.notify_one();
}

void SessionPool::dispose(std::unique_lock<std::mutex>& lock, const CK_FUNCTION_LIST* functions,
                          const Session& session, std::uint64_t generation) noexcept {
  if (session.has_objects && !outstanding_.empty())
    retire(session, generation);
  else
    close_counted(lock, functions, session.handle, generation);
}

// Nobody who comes now may use its objects.
void SessionPool::retire(const Session& session, std::uint64_t generation) noexcept {
  retired_.push_back({session, generation, next_ticket_});  // capacity was reserved likewise
  handle_generation_.fetch_add(1, std::memory_order_acq_rel);
}

void SessionPool::close_retired(std::unique_lock<std::mutex>& lock,
                                const CK_FUNCTION_LIST* functions) noexcept {
  for (;;) {
    const auto ready = std::ranges::find_if(retired_, [&](const Retired& retired) {
      return std::ranges::none_of(outstanding_,
                                  [&](std::uint64_t ticket) { return ticket < retired.before; });
    });
    if (ready == retired_.end()) return;
    const Retired retired = *ready;
    retired_.erase(ready);
    close_counted(lock, functions, retired.session.handle, retired.generation);
  }
}

// With the last session the login would go: open the next one first, where there may be two.
void SessionPool::open_next(std::unique_lock<std::mutex>& lock, const Lease& lease) noexcept {
  if (open_ + opening_ != 1 || !logged_in() || !may_open(limit_) || core::Process::get().exiting())
    return;
  Session next{CK_INVALID_HANDLE, lease.session_.read_write};
  ++opening_;
  lock.unlock();
  const std::shared_lock number(numbers_);
  const CK_RV rv = open_session(lease.use_.operator->(), slot_, next);
  lock.lock();
  --opening_;
  if (rv != CKR_OK) return;
  ++open_;
  idle_.push_back(next);
}

// The session counts against the limit until the token has closed it.
void SessionPool::close_counted(std::unique_lock<std::mutex>& lock,
                                const CK_FUNCTION_LIST* functions, CK_SESSION_HANDLE session,
                                std::uint64_t generation) noexcept {
  if (open_ == 1) login_gone();
  lock.unlock();
  close(functions, session);
  lock.lock();
  forget_count(1, generation);
}

void SessionPool::forget_count(std::size_t sessions, std::uint64_t generation) noexcept {
  if (generation < oldest_alive_) return;  // they no longer counted
  open_ -= sessions;
  if (open_ == 0) login_gone();
}

bool SessionPool::is_current(CK_SESSION_HANDLE session) const noexcept {
  return std::ranges::find(leased_, session) != leased_.end() ||
         std::ranges::find(idle_, session, &Session::handle) != idle_.end() ||
         std::ranges::any_of(
             retired_, [&](const Retired& retired) { return retired.session.handle == session; });
}

void SessionPool::login_gone() noexcept {
  logged_in_.store(false, std::memory_order_release);
  login_generation_.fetch_add(1, std::memory_order_acq_rel);
  handle_generation_.fetch_add(1, std::memory_order_acq_rel);
}

void SessionPool::set_logged_in(std::uint64_t login_generation) noexcept {
  const std::lock_guard lock(mutex_);
  if (this->login_generation() == login_generation)
    logged_in_.store(true, std::memory_order_release);
}

void SessionPool::lose_login(std::uint64_t login_generation) noexcept {
  const std::lock_guard lock(mutex_);
  if (this->login_generation() == login_generation) login_gone();
}

void SessionPool::start_generation() noexcept {
  generation_.fetch_add(1, std::memory_order_acq_rel);
  idle_.clear();  // keeps its capacity, which giving back counts on
  leased_.clear();
  lowered_ = SIZE_MAX;
  login_gone();
  freed_.notify_all();
}

void SessionPool::forget_all() noexcept {
  start_generation();
  oldest_alive_ = generation();
  open_ = 0;
  retired_.clear();
}

bool SessionPool::reset(std::uint64_t generation, Module& module, bool close) noexcept {
  std::vector<Session> closing;
  {
    const std::lock_guard lock(mutex_);
    if (this->generation() != generation) return false;
    if (close) {
      closing = take_idle();
      start_generation();
    } else {
      forget_all();
    }
  }
  close_all(closing, module, generation);
  return true;
}

// Those that can be closed at once.
std::vector<Session> SessionPool::take_idle() noexcept {
  std::vector<Session> taken;
  for (const Session& session : idle_) {
    if (session.has_objects && !outstanding_.empty())
      retire(session, generation());
    else
      taken.push_back(session);
  }
  idle_.clear();  // keeps its capacity, which giving back counts on
  return taken;
}

void SessionPool::close_idle(Module& module) noexcept {
  std::vector<Session> closing;
  std::uint64_t generation = 0;
  {
    const std::lock_guard lock(mutex_);
    closing = take_idle();
    generation = this->generation();
    if (open_ == closing.size() && !closing.empty()) login_gone();
  }
  close_all(closing, module, generation);
}

void SessionPool::close_all(const std::vector<Session>& closing, Module& module,
                            std::uint64_t generation) noexcept {
  if (closing.empty()) return;
  try {
    const Module::Use use = module.use();
    for (const Session& session : closing) close(use.operator->(), session.handle);
  } catch (const Error&) {  // the module is gone, and its sessions with it
  }
  const std::lock_guard lock(mutex_);
  forget_count(closing.size(), generation);
  freed_.notify_all();
}

// Where the token had forgotten the session, the number may be that of a new one of ours.
void SessionPool::close(const CK_FUNCTION_LIST* functions, CK_SESSION_HANDLE session) noexcept {
  if (core::Process::get().exiting()) return;
  const std::unique_lock number(numbers_);
  {
    const std::lock_guard lock(mutex_);
    if (is_current(session)) return;
  }
  (void)functions->C_CloseSession(session);
}

}  // namespace hwid::pkcs11
