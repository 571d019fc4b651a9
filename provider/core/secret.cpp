#include "provider/core/secret.h"

#include <openssl/crypto.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <new>

#include "provider/core/process.h"

namespace hwid::core {

Cleansed::~Cleansed() { OPENSSL_cleanse(text_.data(), text_.size()); }

namespace secure_arena {
namespace {

// A chunk is one mapping of 32 words of 64 blocks of 64 bytes. A bit that is set is a block in use.
// Taking and giving back are compare-and-swap on one word: no lock that a fork could catch.
constexpr std::size_t kBlock = 64;
constexpr std::size_t kWords = 32;
constexpr std::size_t kWordBytes = 64 * kBlock;
constexpr std::size_t kChunkBytes = kWords * kWordBytes;

struct Chunk {
  std::uint8_t* memory = nullptr;
  std::array<std::atomic<std::uint64_t>, kWords> used{};
  Chunk* next = nullptr;
};

std::uint8_t* map_pages(std::size_t size) {
  void* const memory =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  (void)mlock(memory, size);  // as far as RLIMIT_MEMLOCK allows
  (void)madvise(memory, size, MADV_DONTDUMP);
  return static_cast<std::uint8_t*>(memory);
}

Chunk* newest_chunk() noexcept {
  return static_cast<Chunk*>(Process::get().secure_chunks().load(std::memory_order_acquire));
}

void publish(Chunk* fresh) noexcept {
  void* newest = newest_chunk();
  do {
    fresh->next = static_cast<Chunk*>(newest);
  } while (!Process::get().secure_chunks().compare_exchange_weak(newest, fresh,
                                                                 std::memory_order_acq_rel));
}

std::uint64_t run_mask(std::size_t blocks) noexcept {
  return blocks == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << blocks) - 1;
}

void* take_from(Chunk& chunk, std::size_t blocks) noexcept {
  const std::uint64_t mask = run_mask(blocks);
  for (std::size_t word = 0; word < kWords; ++word) {
    std::uint64_t used = chunk.used[word].load(std::memory_order_relaxed);
    for (std::size_t shift = 0; shift + blocks <= 64;) {
      if ((used & (mask << shift)) != 0) {
        ++shift;
      } else if (chunk.used[word].compare_exchange_weak(used, used | (mask << shift),
                                                        std::memory_order_acquire)) {
        return chunk.memory + word * kWordBytes + shift * kBlock;
      }
    }
  }
  return nullptr;
}

std::size_t round_up(std::size_t size, std::size_t unit) noexcept {
  return (size + unit - 1) / unit * unit;
}

}  // namespace

void* allocate(std::size_t size) {
  if (size > kWordBytes) return map_pages(size);
  const std::size_t blocks = size == 0 ? 1 : round_up(size, kBlock) / kBlock;
  for (;;) {
    for (Chunk* chunk = newest_chunk(); chunk; chunk = chunk->next) {
      if (void* const memory = take_from(*chunk, blocks)) return memory;
    }
    auto* const fresh = new Chunk;  // never freed: secrets may outlive every owner of ours
    fresh->memory = map_pages(kChunkBytes);
    publish(fresh);
  }
}

void deallocate(void* memory, std::size_t size) noexcept {
  if (memory == nullptr) return;
  OPENSSL_cleanse(memory, size);
  if (size > kWordBytes) {
    munmap(memory, size);
    return;
  }
  auto* const at = static_cast<std::uint8_t*>(memory);
  const std::size_t blocks = size == 0 ? 1 : round_up(size, kBlock) / kBlock;
  for (Chunk* chunk = newest_chunk(); chunk; chunk = chunk->next) {
    if (at < chunk->memory || at >= chunk->memory + kChunkBytes) continue;
    const auto offset = static_cast<std::size_t>(at - chunk->memory);
    const std::size_t shift = offset % kWordBytes / kBlock;
    chunk->used[offset / kWordBytes].fetch_and(~(run_mask(blocks) << shift),
                                               std::memory_order_release);
    return;
  }
}

}  // namespace secure_arena
}  // namespace hwid::core
