#include "provider/core/process.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <new>

#include "provider/core/error.h"

namespace hwid::core {

// The lists below only grow, by compare-and-swap on their heads: no lock that a fork could catch.

struct Process::Named {
  std::string name;
  std::shared_ptr<ProcessObject> object;
  Named* next;
};

struct Process::Hook {
  std::shared_ptr<ProcessObject> object;
  ExitHook run;
  pid_t pid;
  Hook* next;
};

namespace {

template <typename Node>
void push(std::atomic<Node*>& head, Node* node) noexcept {
  node->next = head.load(std::memory_order_acquire);
  while (!head.compare_exchange_weak(node->next, node, std::memory_order_acq_rel)) {
  }
}

// Linux has it since 4.14. qemu-user before version 8 answers 0 to any advice, and does nothing:
// what also takes one that there is not is not believed.
bool wipes_on_fork(void* memory, std::size_t size) noexcept {
  constexpr int kNoAdvice = -1;
  return madvise(memory, size, kNoAdvice) != 0 && madvise(memory, size, MADV_WIPEONFORK) == 0;
}

std::pair<std::uint64_t, std::uint64_t> identity_of_root() noexcept {
  struct stat root {};
  if (stat("/", &root) != 0) return {};
  return {root.st_dev, root.st_ino};
}

}  // namespace

Process& Process::get() noexcept {
  // In static storage, made once and never destroyed.
  alignas(Process) static std::byte storage[sizeof(Process)];
  static Process* const process = ::new (static_cast<void*>(storage)) Process;
  return *process;
}

Process::Process() : root_(identity_of_root()) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* const memory =
      mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  static std::atomic<std::uint64_t> plain{0};
  if (memory == MAP_FAILED) {
    epoch_page_ = &plain;
    check_pid_ = true;
  } else {
    epoch_page_ = ::new (memory) std::atomic<std::uint64_t>{0};
    check_pid_ = !wipes_on_fork(memory, page);
  }
}

std::uint64_t Process::renew_epoch() noexcept {
  // Number and pid in one word, so that they are seen together.
  const auto pid = static_cast<std::uint32_t>(getpid());
  std::uint64_t seen = epoch_page_->load(std::memory_order_acquire);
  if (seen != 0 && static_cast<std::uint32_t>(seen) == pid) return seen;
  const std::uint64_t number = last_epoch_.fetch_add(1) + 1;
  const std::uint64_t fresh = number << 32 | pid;
  return epoch_page_->compare_exchange_strong(seen, fresh, std::memory_order_acq_rel) ? fresh
                                                                                      : seen;
}

bool Process::has_another_root() const noexcept {
  const auto now = identity_of_root();
  constexpr std::pair<std::uint64_t, std::uint64_t> kUnknown{};
  return now != root_ && now != kUnknown && root_ != kUnknown;
}

void Process::on_exit(std::shared_ptr<ProcessObject> object, ExitHook at_exit) {
  push(hooks_, new Hook{std::move(object), at_exit, getpid(), nullptr});
  // One handler a hook: it must run before the destructors of the library just initialized, which
  // exit handlers registered earlier do not. The module is linked nodelete, so it stays valid.
  std::atexit([] { Process::run_exit_hooks(); });
}

void Process::run_exit_hooks() noexcept {
  Process& process = get();
  if (process.exiting_.exchange(true)) return;
  const pid_t pid = getpid();
  for (Hook* hook = process.hooks_.load(std::memory_order_acquire); hook; hook = hook->next) {
    if (hook->pid == pid) hook->run(*hook->object);
  }
}

std::shared_ptr<ProcessObject> Process::find(const std::string& name) const {
  for (Named* node = objects_.load(std::memory_order_acquire); node; node = node->next) {
    if (node->name == name) return node->object;
  }
  return nullptr;
}

std::shared_ptr<ProcessObject> Process::publish(const std::string& name,
                                                std::shared_ptr<ProcessObject> object) {
  auto node = std::make_unique<Named>(Named{name, std::move(object), nullptr});
  node->next = objects_.load(std::memory_order_acquire);
  do {
    for (const Named* other = node->next; other; other = other->next) {
      if (other->name == name) return other->object;  // another thread was first
    }
  } while (!objects_.compare_exchange_weak(node->next, node.get(), std::memory_order_acq_rel));
  return node.release()->object;
}

void Process::detach() noexcept {
  if (contexts_.fetch_sub(1) != 1 || exiting()) return;
  for (Named* node = objects_.load(std::memory_order_acquire); node; node = node->next)
    node->object->quiesce();
}

}  // namespace hwid::core
