// Bytes that must not leak: PINs and auth values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "provider/core/bytes.h"

namespace hwid::core {

// Memory for secrets: mmap, mlock as far as RLIMIT_MEMLOCK allows, MADV_DONTDUMP, and cleansed
// when it is given back. OPENSSL_secure_malloc is ordinary heap in most programs. Lock-free, so
// a child forked at any moment can go on using it; gone at exec.
namespace secure_arena {
void* allocate(std::size_t size);  // throws std::bad_alloc
void deallocate(void* memory, std::size_t size) noexcept;
}  // namespace secure_arena

template <typename T>
struct ZeroizingAllocator {
  using value_type = T;
  ZeroizingAllocator() noexcept = default;
  template <typename U>
  ZeroizingAllocator(const ZeroizingAllocator<U>&) noexcept {}
  T* allocate(std::size_t n) { return static_cast<T*>(secure_arena::allocate(n * sizeof(T))); }
  void deallocate(T* p, std::size_t n) noexcept { secure_arena::deallocate(p, n * sizeof(T)); }
  template <typename U>
  bool operator==(const ZeroizingAllocator<U>&) const noexcept {
    return true;
  }
};

// A secret byte string. Move-only, has no operator<<, and is never a std::string (small strings
// bypass the allocator). Copies are made on purpose, by clone().
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::size_t size) : bytes_(size) {}
  explicit Secret(ByteView bytes) : bytes_(bytes.begin(), bytes.end()) {}
  Secret(Secret&&) noexcept = default;
  Secret& operator=(Secret&&) noexcept = default;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() = default;

  Secret clone() const { return Secret(reveal()); }
  std::span<const std::uint8_t> reveal() const noexcept { return bytes_; }  // greppable on purpose
  std::span<std::uint8_t> writable() noexcept { return bytes_; }
  void truncate(std::size_t size) { bytes_.resize(size); }  // REQUIRES: size <= size()
  std::size_t size() const noexcept { return bytes_.size(); }
  bool empty() const noexcept { return bytes_.empty(); }

 private:
  std::vector<std::uint8_t, ZeroizingAllocator<std::uint8_t>> bytes_;
};

// Cleanses a string that may hold a PIN, at the end of its scope: what OpenSSL's configuration and
// parameters hand over comes as ordinary strings.
class Cleansed {
 public:
  explicit Cleansed(std::string& text) noexcept : text_(text) {}
  ~Cleansed();
  Cleansed(const Cleansed&) = delete;
  Cleansed& operator=(const Cleansed&) = delete;

 private:
  std::string& text_;
};

}  // namespace hwid::core
