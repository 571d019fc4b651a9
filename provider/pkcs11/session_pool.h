// The sessions of one token, and the login that they carry.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "provider/core/log.h"
#include "provider/pkcs11/module.h"

namespace hwid::pkcs11 {

struct Session {
  CK_SESSION_HANDLE handle = CK_INVALID_HANDLE;
  bool read_write = false;
  bool has_objects = false;  // session objects that other sessions use
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

  // Session objects of this session serve others: it is not closed while a lease may use them.
  void has_objects() noexcept { session_.has_objects = true; }

  // The token's sessions were lost while this one was leased. Its number may since be another's.
  bool is_stale() const noexcept;

  // False once the login that was there at `login_generation` is lost.
  bool is_logged_in() const noexcept;
  void logged_in_at(std::uint64_t login_generation) noexcept {
    login_generation_ = login_generation;
  }

  // Object handles that were found at another number must be found again.
  std::uint64_t handle_generation() const noexcept;

  // Held shared by who searches, and whole by who makes an object that no search is to find before
  // it has its own name.
  std::shared_mutex& searches() const noexcept;

 private:
  friend class SessionPool;
  Lease(SessionPool& pool, Module::Use use, Session session, std::uint64_t ticket) noexcept;
  SessionPool* pool_;
  Module::Use use_;
  Session session_;
  std::uint64_t ticket_;
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
    const core::Log& log;
  };

  // Waits for a session up to 30 seconds, then throws kSessionLimit; throws what C_OpenSession
  // answers.
  Lease acquire(Module::Use use, const Request& request);

  bool logged_in() const noexcept { return logged_in_.load(std::memory_order_acquire); }
  // A login succeeded that began at `login_generation`, unless it was lost since.
  void set_logged_in(std::uint64_t login_generation) noexcept;

  // Changes whenever the login is lost.
  std::uint64_t login_generation() const noexcept {
    return login_generation_.load(std::memory_order_acquire);
  }

  // Changes whenever object handles may have lost their meaning.
  std::uint64_t handle_generation() const noexcept {
    return handle_generation_.load(std::memory_order_acquire);
  }
  std::uint64_t generation() const noexcept { return generation_.load(std::memory_order_acquire); }

  // The token lost the login, unless that was known, and a new one made, since `login_generation`.
  void lose_login(std::uint64_t login_generation) noexcept;

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
  Lease lease(Module::Use use, const Session& session) noexcept;
  void give_back(Lease& lease) noexcept;
  void dispose(std::unique_lock<std::mutex>& lock, const CK_FUNCTION_LIST* functions,
               const Session& session, std::uint64_t generation) noexcept;
  void retire(const Session& session, std::uint64_t generation) noexcept;
  std::vector<Session> take_idle() noexcept;
  void close_retired(std::unique_lock<std::mutex>& lock,
                     const CK_FUNCTION_LIST* functions) noexcept;
  void start_generation() noexcept;
  void open_next(std::unique_lock<std::mutex>& lock, const Lease& lease) noexcept;
  void close_counted(std::unique_lock<std::mutex>& lock, const CK_FUNCTION_LIST* functions,
                     CK_SESSION_HANDLE session, std::uint64_t generation) noexcept;
  void close_all(const std::vector<Session>& closing, Module& module,
                 std::uint64_t generation) noexcept;
  void forget_count(std::size_t sessions, std::uint64_t generation) noexcept;
  bool is_current(CK_SESSION_HANDLE session) const noexcept;
  void forget_all() noexcept;
  void login_gone() noexcept;
  void close(const CK_FUNCTION_LIST* functions, CK_SESSION_HANDLE session) noexcept;

  // Shared while C_OpenSession gives out a number and until we have noted it, whole while one is
  // closed that the token may have forgotten, and be giving out anew. Taken before `mutex_`.
  std::shared_mutex numbers_;
  std::shared_mutex searches_;  // see Lease::searches
  std::mutex mutex_;
  std::condition_variable freed_;
  std::vector<Session> idle_;
  std::vector<CK_SESSION_HANDLE> leased_;   // of this generation
  std::vector<std::uint64_t> outstanding_;  // tickets of all leases, of all generations
  std::uint64_t next_ticket_ = 1;
  // To be closed when all leases with an earlier ticket are back: SoftHSM crashes where a session
  // goes while another is about to sign with an object of its.
  struct Retired {
    Session session;
    std::uint64_t generation;
    std::uint64_t before;
  };
  std::vector<Retired> retired_;
  std::size_t open_ = 0;             // not closed yet, of all generations that may be alive
  std::size_t opening_ = 0;          // C_OpenSession is under way
  std::size_t limit_ = 0;            // of the newest request
  std::size_t lowered_ = SIZE_MAX;   // what the token turned out to allow
  Clock::time_point lowered_until_;  // another process may have closed its sessions by then
  CK_SLOT_ID slot_ = 0;
  std::uint64_t module_generation_ = 0;  // of the newest acquire; 0: none yet
  std::uint64_t oldest_alive_ = 1;       // sessions of earlier generations are gone
  std::atomic<std::uint64_t> generation_{1};
  std::atomic<std::uint64_t> handle_generation_{1};
  std::atomic<std::uint64_t> login_generation_{1};
  std::atomic<bool> logged_in_{false};
};

}  // namespace hwid::pkcs11
