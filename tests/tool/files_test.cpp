// Files that the command reads: keys among them, of which no copy may stay in memory.
#include "tools/hwid/files.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

namespace {

constexpr const char kSecret[] = "a key that is read";
constexpr std::size_t kHead = alignof(std::max_align_t);

std::atomic<bool> is_watched{false};
std::atomic<int> left_behind{0};

}  // namespace

// Every block of memory is looked at when it is given back.
void* operator new(std::size_t size) {
  // Empty: what is given back must not have somebody else's secret in what was never written.
  auto* const memory = static_cast<unsigned char*>(std::calloc(1, kHead + size));
  if (memory == nullptr) throw std::bad_alloc();
  std::memcpy(memory, &size, sizeof size);
  return memory + kHead;
}
void operator delete(void* memory) noexcept {
  if (memory == nullptr) return;
  unsigned char* const block = static_cast<unsigned char*>(memory) - kHead;
  std::size_t size = 0;
  std::memcpy(&size, block, sizeof size);
  if (is_watched && memmem(memory, size, kSecret, sizeof kSecret - 1) != nullptr) ++left_behind;
  std::free(block);
}
void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }

namespace {

// A pipe, whose length nobody knows before, with `text` in it.
class Pipe {
 public:
  explicit Pipe(const std::string& text) {
    REQUIRE(::pipe(ends_.data()) == 0);
    const ssize_t written = ::write(ends_[1], text.data(), text.size());  // below 64 KiB
    ::close(ends_[1]);
    REQUIRE(written == static_cast<ssize_t>(text.size()));
  }
  ~Pipe() { ::close(ends_[0]); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  std::string path() const { return "/dev/fd/" + std::to_string(ends_[0]); }

 private:
  std::array<int, 2> ends_{};
};

}  // namespace

TEST_CASE("files: what is read is in memory once") {
  std::string text;
  while (text.size() < 60000) text += kSecret;
  const Pipe whole(text);
  const Pipe too_long(text);
  const std::string path = whole.path();
  const std::string path_of_too_long = too_long.path();
  left_behind = 0;
  is_watched = true;
  std::string read = hwid::tool::read_file(path);
  CHECK(left_behind == 0);
  bool is_refused = false;
  try {
    (void)hwid::tool::read_file(path_of_too_long, 40000);
  } catch (const std::exception&) {
    is_refused = true;
  }
  is_watched = false;
  CHECK(left_behind == 0);
  CHECK(is_refused);
  CHECK(read == text);
}
