#include "provider/pkcs11/session_pool.h"

#include <algorithm>

namespace hwid::pkcs11 {

using core::Error;
using core::Reason;

namespace {

constexpr std::chrono::seconds kPatience{30};

CK_RV open_session(const CK_FUNCTION_LIST* functions, CK_SLOT_ID slot, Session& session) {
  const CK_FLAGS flags = CKF_SERIAL_SESSION | (session.read_write ? CKF_RW_SESSION : 0);
  return functions->C_OpenSession(slot, flags, nullptr, nullptr, &session.handle);
}

}  // namespace

Lease::Lease(Lease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      use_(std::move(other.use_)),
      session_(other.session_),
      generation_(other.generation_),
      active_(other.active_) {}

Lease::~Lease() {
  if (pool_ != nullptr) pool_->give_back(*this);
}

std::uint64_t Lease::handle_generation() const noexcept { return pool_->handle_generation(); }

Lease SessionPool::acquire(Module::Use use, const Request& request) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  std::unique_lock lock(mutex_);
  slot_ = request.slot;
  const auto may_open = [&] { return open_ + opening_ < std::min(request.limit, lowered_); };
  const auto fits = [&](const Session& s) { return s.read_write || !request.read_write; };
  for (;;) {
    const auto found = std::find_if(idle_.rbegin(), idle_.rend(), fits);
    if (found != idle_.rend()) {
      const Session session = *found;
      idle_.erase(std::next(found).base());
      return Lease(*this, std::move(use), session, generation());
    }
    if (may_open()) {
      Session session{CK_INVALID_HANDLE, request.read_write};
      const CK_RV rv = open(lock, use, request, session);
      if (rv == CKR_OK) return Lease(*this, std::move(use), session, generation());
      // Where other sessions of ours are open, one of them will do when it is free.
      if (rv != CKR_SESSION_COUNT || open_ + opening_ == 0)
        raise(rv, "C_OpenSession", request.place);
      lowered_ = open_ + opening_;
    } else if (!idle_.empty()) {
      make_room(lock, use);
    } else if (!freed_.wait_until(lock, deadline, [&] { return !idle_.empty() || may_open(); })) {
      throw Error(Reason::kSessionLimit,
                  "C_OpenSession:" + place_text(request.place) + ": all " + std::to_string(open_) +
                      " sessions of this process were in use for 30 seconds; raise max-sessions, "
                      "or see what the token is waiting for");
    }
  }
}

// A read-only session makes room for one that may write.
void SessionPool::make_room(std::unique_lock<std::mutex>& lock, const Module::Use& use) {
  const Session session = idle_.back();
  idle_.pop_back();
  if (--open_ == 0) login_gone();
  lock.unlock();
  close(use.operator->(), session.handle);
  lock.lock();
}

CK_RV SessionPool::open(std::unique_lock<std::mutex>& lock, const Module::Use& use,
                        const Request& request, Session& session) {
  idle_.reserve(open_ + opening_ + 1);  // so that giving back cannot fail
  ++opening_;
  lock.unlock();
  const CK_RV rv = open_session(use.operator->(), request.slot, session);
  lock.lock();
  --opening_;
  if (rv == CKR_OK)
    ++open_;
  else
    freed_.notify_all();
  return rv;
}

void SessionPool::give_back(Lease& lease) noexcept {
  std::unique_lock lock(mutex_);
  // Of an earlier generation: the token has forgotten it, and may have given its number to a new
  // session.
  if (lease.generation_ != generation()) return;
  if (lease.active_) {
    close_active(lock, lease);
  } else {
    idle_.push_back(lease.session_);  // capacity was reserved when it was opened
  }
  lock.unlock();
  freed_.notify_one();
}

// With the last session the login would go: open the next one first, where there may be two.
void SessionPool::close_active(std::unique_lock<std::mutex>& lock, Lease& lease) noexcept {
  if (core::Process::get().exiting()) return;
  const CK_FUNCTION_LIST* const functions = lease.use_.operator->();
  Session next{CK_INVALID_HANDLE, lease.session_.read_write};
  const std::uint64_t generation_before = generation();
  if (open_ == 1 && logged_in() && lowered_ > 1) {
    ++opening_;
    lock.unlock();
    const CK_RV rv = open_session(functions, slot_, next);
    lock.lock();
    --opening_;
    if (generation() != generation_before) return;
    if (rv == CKR_OK) {
      ++open_;
      idle_.push_back(next);
    }
  }
  if (--open_ == 0) login_gone();
  lock.unlock();
  close(functions, lease.session_.handle);
  lock.lock();
}

void SessionPool::login_gone() noexcept {
  logged_in_.store(false, std::memory_order_release);
  handle_generation_.fetch_add(1, std::memory_order_acq_rel);
}

void SessionPool::lose_login(std::uint64_t handle_generation) noexcept {
  const std::lock_guard lock(mutex_);
  if (this->handle_generation() == handle_generation) login_gone();
}

bool SessionPool::reset(std::uint64_t generation, Module& module, bool close) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (this->generation() != generation) return false;
  }
  if (close) close_idle(module);
  const std::lock_guard lock(mutex_);
  if (this->generation() != generation) return false;
  generation_.fetch_add(1, std::memory_order_acq_rel);
  idle_.clear();
  open_ = 0;
  lowered_ = SIZE_MAX;
  login_gone();
  freed_.notify_all();
  return true;
}

void SessionPool::close_idle(Module& module) noexcept {
  std::vector<Session> closing;
  {
    const std::lock_guard lock(mutex_);
    closing.swap(idle_);
    open_ -= closing.size();
    if (open_ == 0 && !closing.empty()) login_gone();
  }
  if (closing.empty() || core::Process::get().exiting()) return;
  try {
    const Module::Use use = module.use();
    for (const Session& session : closing) close(use.operator->(), session.handle);
  } catch (const Error&) {  // the module is gone, and its sessions with it
  }
}

void SessionPool::close(const CK_FUNCTION_LIST* functions, CK_SESSION_HANDLE session) noexcept {
  if (!core::Process::get().exiting()) (void)functions->C_CloseSession(session);
}

}  // namespace hwid::pkcs11
