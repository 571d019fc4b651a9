#include "provider/core/refused_pins.h"

#include <dlfcn.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <sys/mman.h>
#include <sys/random.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <new>

namespace hwid::core {

struct RefusedPins::Shared {
  struct Entry {
    bool used;
    Digest token;
    Digest pin;
  };
  static constexpr std::size_t kEntries = 64;
  static constexpr std::size_t kTries = 16;

  static Shared* make() noexcept;

  std::size_t size;       // of this: another copy may be of another version
  pthread_mutex_t table;  // of what follows it; held for a moment
  std::uint8_t key[32];
  std::size_t next;
  Entry entries[kEntries];
  pthread_mutex_t tries[kTries];  // by token
};

RefusedPins::Shared* RefusedPins::Shared::make() noexcept {
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    memory = ::operator new(sizeof(Shared));  // of this process alone
  else
    (void)madvise(memory, sizeof(Shared), MADV_DONTDUMP);
  auto* const made = ::new (memory) Shared{};
  made->size = sizeof(Shared);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_init(&made->table, &attributes);
  for (pthread_mutex_t& mutex : made->tries) pthread_mutex_init(&mutex, &attributes);
  pthread_mutexattr_destroy(&attributes);
  if (getrandom(made->key, sizeof made->key, 0) != static_cast<ssize_t>(sizeof made->key))
    std::memcpy(made->key, &memory, sizeof memory);  // better than none
  return made;
}

// A program that has this code in itself and loads the provider, too, has it twice. Both know the
// same where the program exports `extern "C" std::atomic<void*> hwid_refused_pins`, null at first:
// the copy that is first leaves its page there for the other.
RefusedPins::RefusedPins() noexcept {
  auto* const known = static_cast<std::atomic<void*>*>(dlsym(RTLD_DEFAULT, "hwid_refused_pins"));
  if (known != nullptr) {
    auto* const others = static_cast<Shared*>(known->load(std::memory_order_acquire));
    if (others != nullptr && others->size == sizeof(Shared)) {
      shared_ = others;
      return;
    }
  }
  shared_ = Shared::make();
  void* none = nullptr;
  if (known != nullptr)
    known->compare_exchange_strong(none, shared_, std::memory_order_release,
                                   std::memory_order_relaxed);
}

RefusedPins::Lock::Lock(pthread_mutex_t& mutex, time_t patience) noexcept {
  int result = pthread_mutex_trylock(&mutex);
  if (result == EBUSY) {
    waited_ = true;
    timespec deadline{};
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += patience;
    result = pthread_mutex_timedlock(&mutex, &deadline);
  }
  if (result == EOWNERDEAD) pthread_mutex_consistent(&mutex);
  if (result == 0 || result == EOWNERDEAD) held_ = &mutex;
}

RefusedPins::Lock::~Lock() {
  if (held_ != nullptr) pthread_mutex_unlock(held_);
}

RefusedPins::Try::Try(RefusedPins& pins, const std::string& token) noexcept
    : Lock(pins.shared_->tries[std::hash<std::string>{}(token) % Shared::kTries], 30) {}

class RefusedPins::TableLock : public Lock {
 public:
  explicit TableLock(Shared& shared) noexcept : Lock(shared.table, 1) {}
};

Bytes RefusedPins::fingerprint(const std::string& token, ByteView pin) const {
  Digest digest;
  hash(token, pin, digest);
  return {digest, digest + sizeof digest};
}

void RefusedPins::remember(const std::string& token, ByteView pin) noexcept {
  const TableLock lock(*shared_);
  if (knows(token, pin)) return;  // the lock is recursive
  Shared::Entry& entry = shared_->entries[shared_->next++ % Shared::kEntries];
  hash(token, {}, entry.token);
  hash(token, pin, entry.pin);
  entry.used = true;
}

bool RefusedPins::knows(const std::string& token, ByteView pin) noexcept {
  const TableLock lock(*shared_);
  Digest digest;
  hash(token, pin, digest);
  for (const Shared::Entry& entry : shared_->entries) {
    if (entry.used && CRYPTO_memcmp(entry.pin, digest, sizeof digest) == 0) return true;
  }
  return false;
}

void RefusedPins::forget(const std::string& token) noexcept {
  const TableLock lock(*shared_);
  Digest digest;
  hash(token, {}, digest);
  for (Shared::Entry& entry : shared_->entries) {
    if (entry.used && CRYPTO_memcmp(entry.token, digest, sizeof digest) == 0) entry.used = false;
  }
}

// A keyed digest in plain SHA-256 (HMAC, RFC 2104) that needs no library context: refused PINs
// belong to the process, and must work wherever the application took its providers away.
void RefusedPins::hash(const std::string& token, ByteView pin, Digest& digest) const noexcept {
  // SHA256_* are deprecated for applications' sake, and the only hash that fetches nothing.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  std::uint8_t inner_pad[SHA256_CBLOCK];
  std::uint8_t outer_pad[SHA256_CBLOCK];
  for (std::size_t i = 0; i < sizeof inner_pad; ++i) {
    const std::uint8_t byte = i < sizeof shared_->key ? shared_->key[i] : 0;
    inner_pad[i] = byte ^ 0x36;
    outer_pad[i] = byte ^ 0x5c;
  }
  SHA256_CTX context;
  SHA256_Init(&context);
  SHA256_Update(&context, inner_pad, sizeof inner_pad);
  SHA256_Update(&context, token.c_str(), token.size() + 1);
  SHA256_Update(&context, pin.data(), pin.size());
  SHA256_Final(digest, &context);
  SHA256_Init(&context);
  SHA256_Update(&context, outer_pad, sizeof outer_pad);
  SHA256_Update(&context, digest, sizeof digest);
  SHA256_Final(digest, &context);
  OPENSSL_cleanse(&context, sizeof context);
  OPENSSL_cleanse(inner_pad, sizeof inner_pad);
  OPENSSL_cleanse(outer_pad, sizeof outer_pad);
#pragma GCC diagnostic pop
}

}  // namespace hwid::core
