// One owner type for every C handle that must be closed through another object.
#pragma once

#include <memory>
#include <utility>

namespace hwid::core {

// Traits: Owner (the object that closes), Value (the C handle), kNull, and
// `static void close(Owner&, Value) noexcept`, which logs a failure and never throws.
// The owner outlives the handle: it is held by shared_ptr. Not thread-safe.
template <typename Traits>
class UniqueHandle {
 public:
  using Owner = std::shared_ptr<typename Traits::Owner>;
  using Value = typename Traits::Value;

  UniqueHandle() noexcept = default;
  UniqueHandle(Owner owner, Value value) noexcept : owner_(std::move(owner)), value_(value) {}
  UniqueHandle(UniqueHandle&& other) noexcept
      : owner_(std::move(other.owner_)), value_(std::exchange(other.value_, Traits::kNull)) {}
  UniqueHandle& operator=(UniqueHandle other) noexcept {
    owner_.swap(other.owner_);
    std::swap(value_, other.value_);
    return *this;
  }
  ~UniqueHandle() {
    if (value_ != Traits::kNull) Traits::close(*owner_, value_);
  }

  Value get() const noexcept { return value_; }
  explicit operator bool() const noexcept { return value_ != Traits::kNull; }
  // Gives the handle up without closing it: the other side has already forgotten it.
  Value release() noexcept { return std::exchange(value_, Traits::kNull); }

 private:
  Owner owner_;
  Value value_ = Traits::kNull;
};

}  // namespace hwid::core
