#include "tests/module/counters.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace hwid::test {
namespace {

constexpr std::size_t kBytes = kTallyCount * sizeof(std::uint64_t);

void* map_file(const char* path) {
  const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0) {
    std::perror(path);
    return MAP_FAILED;
  }
  void* memory = MAP_FAILED;
  if (ftruncate(file, kBytes) == 0)
    memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) std::perror(path);
  close(file);
  return memory;
}

}  // namespace

Counters::Counters(const char* path) {
  void* memory = path != nullptr ? map_file(path) : MAP_FAILED;
  if (memory == MAP_FAILED)
    memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("mmap of the counters");
    std::abort();
  }
  // A new mapping is all zero, which is what a zero counter looks like: nothing is constructed, so
  // that a file keeps what other processes counted.
  cells_ = static_cast<Cell*>(memory);
}

void Counters::raise_to(Tally tally, std::uint64_t value) noexcept {
  Cell& cell = cells_[static_cast<std::size_t>(tally)];
  std::uint64_t seen = cell.load(std::memory_order_relaxed);
  while (seen < value && !cell.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

void Counters::reset() noexcept {
  for (std::size_t i = 0; i < kTallyCount; ++i) cells_[i].store(0, std::memory_order_relaxed);
}

std::string Counters::text() const {
  std::string lines;
  for (std::size_t i = 0; i < kTallyCount; ++i) {
    if (value(i) != 0) lines += std::string(tally_name(i)) + " " + std::to_string(value(i)) + "\n";
  }
  return lines;
}

}  // namespace hwid::test
