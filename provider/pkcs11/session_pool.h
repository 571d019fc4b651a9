// The sessions of one token, and the login that they carry.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#include "provider/pkcs11/module.h"

namespace hwid::pkcs11 {

struct Session {
  CK_SESSION_HANDLE handle = CK_INVALID_HANDLE;
  bool read_write = false;
};

class SessionPool;

// A session for one operation of one thread. Goes back to the pool by itself.
class Lease {
 public:
  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&&) = delete;
  ~Lease();

  CK_SESSION_HANDLE session() const noexcept { return session_.handle; }
  const CK_FUNCTION_LIST* operator->() const noexcept { return use_.operator->(); }
  const Module::Use& use() const noexcept { return use_; }

  // Between the two an operation may be active in the session: it is then closed, not given back.
  void operation_begins() noexcept { active_ = true; }
  void operation_ends() noexcept { active_ = false; }

  // The token's sessions were lost while this one was leased. Its number may since be another's.
  bool is_stale() const noexcept;

  // Handles were of this generation when the user was known to be logged in.
  std::uint64_t login_generation() const noexcept { return login_generation_; }
  void logged_in_at(std::uint64_t handle_generation) noexcept {
    login_generation_ = handle_generation;
  }

  // Object handles that were found at another number must be found again.
  std::uint64_t handle_generation() const noexcept;

 private:
  friend class SessionPool;
  Lease(SessionPool& pool, Module::Use use, Session session, std::uint64_t generation) noexcept;
  SessionPool* pool_;
  Module::Use use_;
  Session session_;
  std::uint64_t generation_;
  std::uint64_t login_generation_;
  bool active_ = false;
};

// Thread-safe; more threads than sessions wait. Belongs to one process: a forked child makes its
// own. PKCS#11 ends the login when the application's last session is closed (v2.40, 5.6.2).
class SessionPool {
 public:
  struct Request {
    CK_SLOT_ID slot = 0;
    std::size_t limit = 0;  // sessions at most
    bool read_write = false;
    const Place& place;
  };

  // Waits for a session up to 30 seconds, then throws kSessionLimit; throws what C_OpenSession
  // answers.
  Lease acquire(Module::Use use, const Request& request);

  bool logged_in() const noexcept { return logged_in_.load(std::memory_order_acquire); }
  void set_logged_in() noexcept { logged_in_.store(true, std::memory_order_release); }

  // Changes whenever object handles may have lost their meaning.
  std::uint64_t handle_generation() const noexcept {
    return handle_generation_.load(std::memory_order_acquire);
  }
  std::uint64_t generation() const noexcept { return generation_.load(std::memory_order_acquire); }

  // The token lost the login, unless it was made again since `handle_generation`.
  void lose_login(std::uint64_t handle_generation) noexcept;

  // The token lost our sessions, unless they are of a later `generation`. `close`: it may not
  // have lost all, so each is closed, leased ones when they come back, and counts until then. False
  // if someone else did it already.
  bool reset(std::uint64_t generation, Module& module, bool close) noexcept;

  // Closes what nobody leases.
  void close_idle(Module& module) noexcept;

 private:
  friend class Lease;
  using Clock = std::chrono::steady_clock;
  bool may_open(std::size_t limit) const noexcept;
  CK_RV open(std::unique_lock<std::mutex>& lock, const Module::Use& use, const Request& request,
             Session& session);
  void make_room(std::unique_lock<std::mutex>& lock, const Module::Use& use);
  void give_back(Lease& lease) noexcept;
  void open_next(std::unique_lock<std::mutex>& lock, const Lease& lease) noexcept;
  void close_counted(std::unique_lock<std::mutex>& lock, const CK_FUNCTION_LIST* functions,
                     CK_SESSION_HANDLE session, std::uint64_t generation) noexcept;
  void close_all(const std::vector<Session>& closing, Module& module,
                 std::uint64_t generation) noexcept;
  void forget_count(std::size_t sessions, std::uint64_t generation) noexcept;
  bool is_current(CK_SESSION_HANDLE session) const noexcept;
  bool is_given_out_anew(CK_SESSION_HANDLE session) noexcept;
  void forget_all() noexcept;
  void login_gone() noexcept;
  static void close(const CK_FUNCTION_LIST* functions, CK_SESSION_HANDLE session) noexcept;

  std::mutex mutex_;
  std::condition_variable freed_;
  std::vector<Session> idle_;
  std::vector<CK_SESSION_HANDLE> leased_;  // of this generation
  std::size_t open_ = 0;                   // not closed yet, of all generations that may be alive
  std::size_t opening_ = 0;                // C_OpenSession is under way
  std::size_t limit_ = 0;                  // of the newest request
  std::size_t lowered_ = SIZE_MAX;         // what the token turned out to allow
  Clock::time_point lowered_until_;        // another process may have closed its sessions by then
  CK_SLOT_ID slot_ = 0;
  std::uint64_t module_generation_ = 0;  // of the newest acquire; 0: none yet
  std::uint64_t oldest_alive_ = 1;       // sessions of earlier generations are gone
  std::atomic<std::uint64_t> generation_{1};
  std::atomic<std::uint64_t> handle_generation_{1};
  std::atomic<bool> logged_in_{false};
};

}  // namespace hwid::pkcs11
