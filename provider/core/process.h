// The one place of process-wide state.
//
// PKCS#11's C_Initialize and logins belong to the process, not to a library context, so what
// backends share lives here: loaded modules, token logins, refused PINs, TPM connections, and
// the fork epoch. Never destroyed: threads and atexit handlers may come late.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "provider/core/refused_pins.h"

namespace hwid::core {

// Base of what backends keep for the whole process (a PKCS#11 module, a TPM connection).
class ProcessObject {
 public:
  virtual ~ProcessObject() = default;
  // The last library context let go of us: close what is idle. Not called while exiting.
  virtual void quiesce() noexcept = 0;
};

// All members are thread-safe, and usable in a child forked at any moment.
class Process {
 public:
  static Process& get() noexcept;

  // A number that differs between a process and its forked child, and never comes back. Exact
  // also after a raw fork system call: a page that the kernel wipes in the child holds it
  // (MADV_WIPEONFORK), getpid where that fails. Costs half a nanosecond. vfork does not change
  // it.
  std::uint64_t fork_epoch() noexcept {
    const std::uint64_t epoch = epoch_page_->load(std::memory_order_acquire);
    return epoch != 0 && !check_pid_ ? epoch : renew_epoch();
  }

  // True once the process runs its exit handlers. From then on no call may go into a module
  // whose destructors may have run.
  // Sequentially consistent: users note that they are inside, then look here, and the exit handler
  // does it the other way round.
  bool exiting() const noexcept { return exiting_.load(); }

  // True where this process, or its parent, became a chroot's (or another mount namespace's) since
  // the provider was loaded: what a module reads may not be there.
  bool has_another_root() const noexcept;

  // Runs `at_exit(object)` when the process exits, before the destructors of libraries that were
  // loaded earlier than this call, in the process that called it only (not in forked children).
  // REQUIRES: called right after the library that it speaks of was initialized.
  using ExitHook = void (*)(ProcessObject&) noexcept;
  void on_exit(std::shared_ptr<ProcessObject> object, ExitHook at_exit);

  // The object of that name, made by `make()` if there is none. `make` must have no side
  // effects: of two threads that race, one result is thrown away. Names start with the
  // backend's name ("pkcs11:/usr/lib/..."), which fixes T.
  template <typename T, typename Make>
  std::shared_ptr<T> shared(const std::string& name, Make&& make) {
    if (auto found = find(name)) return std::static_pointer_cast<T>(std::move(found));
    return std::static_pointer_cast<T>(publish(name, std::forward<Make>(make)()));
  }

  // Library contexts that use us; the last to leave quiesces every object.
  void attach() noexcept { contexts_.fetch_add(1); }
  void detach() noexcept;

  // The newest chunk of the secure arena (core/secret.cpp), which must serve any thread.
  std::atomic<void*>& secure_chunks() noexcept { return secure_chunks_; }

  // Shared with the processes that are forked from this one.
  RefusedPins& refused_pins() noexcept { return refused_pins_; }

 private:
  Process();
  std::uint64_t renew_epoch() noexcept;
  std::shared_ptr<ProcessObject> find(const std::string& name) const;
  std::shared_ptr<ProcessObject> publish(const std::string& name,
                                         std::shared_ptr<ProcessObject> object);
  static void run_exit_hooks() noexcept;

  struct Named;
  struct Hook;
  std::atomic<std::uint64_t>* epoch_page_;
  bool check_pid_ = false;
  std::pair<std::uint64_t, std::uint64_t> root_;  // device and inode
  std::atomic<std::uint64_t> last_epoch_{0};
  std::atomic<bool> exiting_{false};
  std::atomic<int> contexts_{0};
  std::atomic<Named*> objects_{nullptr};
  std::atomic<Hook*> hooks_{nullptr};
  std::atomic<void*> secure_chunks_{nullptr};
  RefusedPins refused_pins_;
};

// State that a forked child must not share with its parent: anything with a mutex, a session, a
// descriptor. The first use in a child makes a new T from the inherited one: T needs a
// constructor `explicit T(const T* inherited)`, given nullptr at first. The constructor may read
// only what is immutable or atomic in `inherited`: another thread of the parent may have been
// anywhere when it forked. The inherited T is leaked on purpose; its locks may be held for ever.
template <typename T>
class EpochLocal {
 public:
  EpochLocal() noexcept = default;
  EpochLocal(const EpochLocal&) = delete;
  EpochLocal& operator=(const EpochLocal&) = delete;
  ~EpochLocal() {
    Node* node = current_.load(std::memory_order_acquire);
    if (node != nullptr && node->epoch == Process::get().fork_epoch()) delete node;
  }

  T& get() {
    Node* node = current_.load(std::memory_order_acquire);
    const std::uint64_t epoch = Process::get().fork_epoch();
    return node != nullptr && node->epoch == epoch ? node->value : renew(node, epoch);
  }

 private:
  struct Node {
    Node(std::uint64_t e, Node* p) : epoch(e), previous(p), value(p ? &p->value : nullptr) {}
    std::uint64_t epoch;
    Node* previous;  // keeps the inherited state reachable for leak checkers
    T value;
  };
  T& renew(Node* seen, std::uint64_t epoch) {
    auto fresh = std::make_unique<Node>(epoch, seen);
    if (current_.compare_exchange_strong(seen, fresh.get(), std::memory_order_acq_rel))
      return fresh.release()->value;
    return seen->value;  // another thread was first
  }
  std::atomic<Node*> current_{nullptr};
};

}  // namespace hwid::core
