#include "provider/core/process.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>

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

struct Process::Refused {
  std::string token;
  std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest;
  std::atomic<bool> forgotten{false};
  Refused* next;
};

namespace {

// A keyed digest in plain SHA-256 (HMAC, RFC 2104) that needs no library context: refused PINs
// belong to the process, and must work wherever the application took its providers away.
std::array<std::uint8_t, SHA256_DIGEST_LENGTH> hmac_sha256(ByteView key, const std::string& token,
                                                           ByteView pin) {
  std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest{};
  // SHA256_* are deprecated for applications' sake, and the only hash that fetches nothing.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  std::array<std::uint8_t, SHA256_CBLOCK> inner_pad{};
  std::array<std::uint8_t, SHA256_CBLOCK> outer_pad{};
  for (std::size_t i = 0; i < inner_pad.size(); ++i) {
    const std::uint8_t byte = i < key.size() ? key[i] : 0;
    inner_pad[i] = byte ^ 0x36;
    outer_pad[i] = byte ^ 0x5c;
  }
  SHA256_CTX hash;
  SHA256_Init(&hash);
  SHA256_Update(&hash, inner_pad.data(), inner_pad.size());
  SHA256_Update(&hash, token.c_str(), token.size() + 1);
  SHA256_Update(&hash, pin.data(), pin.size());
  SHA256_Final(digest.data(), &hash);
  SHA256_Init(&hash);
  SHA256_Update(&hash, outer_pad.data(), outer_pad.size());
  SHA256_Update(&hash, digest.data(), digest.size());
  SHA256_Final(digest.data(), &hash);
  OPENSSL_cleanse(&hash, sizeof hash);
#pragma GCC diagnostic pop
  return digest;
}

template <typename Node>
void push(std::atomic<Node*>& head, Node* node) noexcept {
  node->next = head.load(std::memory_order_acquire);
  while (!head.compare_exchange_weak(node->next, node, std::memory_order_acq_rel)) {
  }
}

}  // namespace

Process& Process::get() noexcept {
  // In static storage, made once and never destroyed.
  alignas(Process) static std::byte storage[sizeof(Process)];
  static Process* const process = ::new (static_cast<void*>(storage)) Process;
  return *process;
}

Process::Process() : refused_key_(SHA256_DIGEST_LENGTH) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* const memory =
      mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  static std::atomic<std::uint64_t> plain{0};
  if (memory == MAP_FAILED) {
    epoch_page_ = &plain;
    check_pid_ = true;
  } else {
    epoch_page_ = ::new (memory) std::atomic<std::uint64_t>{0};
    check_pid_ = madvise(memory, page, MADV_WIPEONFORK) != 0;
  }
  if (getrandom(refused_key_.data(), refused_key_.size(), 0) !=
      static_cast<ssize_t>(refused_key_.size()))
    std::memcpy(refused_key_.data(), &memory, sizeof memory);  // still keeps PINs out of a dump
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

void Process::remember_refused_pin(const std::string& token, ByteView pin) {
  if (is_refused_pin(token, pin)) return;
  auto node = std::make_unique<Refused>();
  node->token = token;
  node->digest = hmac_sha256(refused_key_, token, pin);
  push(refused_, node.release());
}

bool Process::is_refused_pin(const std::string& token, ByteView pin) {
  std::optional<std::array<std::uint8_t, SHA256_DIGEST_LENGTH>> digest;
  for (Refused* node = refused_.load(std::memory_order_acquire); node; node = node->next) {
    if (node->token != token || node->forgotten.load(std::memory_order_acquire)) continue;
    if (!digest) digest = hmac_sha256(refused_key_, token, pin);
    if (CRYPTO_memcmp(digest->data(), node->digest.data(), digest->size()) == 0) return true;
  }
  return false;
}

void Process::forget_refused_pins(const std::string& token) {
  for (Refused* node = refused_.load(std::memory_order_acquire); node; node = node->next) {
    if (node->token == token) node->forgotten.store(true, std::memory_order_release);
  }
}

}  // namespace hwid::core
