#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace hwid::transport {

// A file descriptor that is closed.
class UniqueFd {
 public:
  explicit UniqueFd(int fd = -1) noexcept : fd_(fd) {}
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd();
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

// Records that outlive the process and a power failure: DIR/journal, to which one is appended by
// one write, behind its length and checksum. One file, because a record is then durable after one
// fdatasync, which records that come at the same time share; a file for each record would need two
// (its own and the directory's). What a power failure left half-written is cut off at the next
// start. Damage that good records follow is cut off with them, since nobody can tell what they
// mean without it; DIR/journal.damaged is a copy of the file as it was, then.
//
// DIR/lock is locked (flock) as long as the journal lives: a second process is refused.
//
// Room on the disk is taken in advance: append() also secures `room` bytes for what must be
// recorded later about the records that are there, so that a full disk refuses a new record and
// never stops what is known to be good. That room is still there after a restart.
//
// After a sync that failed nobody knows what is on the disk, and nothing is appended until
// rewrite() has put all records into a new file.
//
// Threads: any for sync(), one at a time for the rest.
class Journal {
 public:
  using Position = std::uint64_t;
  using Replay = std::function<void(std::string_view record)>;

  // Makes the directory where it is missing, and hands every record to `replay`. Throws Error;
  // what `replay` throws comes through.
  Journal(std::filesystem::path directory, const Replay& replay);

  // Throws Error, of kind full where the disk or a limit leaves no room: nothing is appended then.
  Position append(std::string_view record, std::uint64_t room);

  // Returns when everything up to `position` is on the disk. Throws Error.
  void sync(Position position);

  std::uint64_t size() const noexcept { return end_; }

  // Secures exactly that room behind what is there. Throws Error, of kind full.
  void reserve(std::uint64_t room);

  // A sync failed, and rewrite() was not called since. Threads: any.
  bool broken();

  // Replaces all records, durably. Throws Error: then the old ones are still there.
  void rewrite(const std::vector<std::string>& records, std::uint64_t room);
  // The same for none, without waiting for the disk.
  void clear();

 private:
  void lock();
  void begin();
  void read(const Replay& replay);
  std::string read_all() const;
  void drop_rest(std::string_view bytes);
  void secure(std::uint64_t length);
  void write_at(int fd, std::uint64_t offset, std::string_view bytes) const;
  [[noreturn]] void fail(const std::string& what, int error) const;

  const std::filesystem::path directory_;
  const std::filesystem::path file_;
  UniqueFd lock_;
  std::uint64_t end_ = 0;
  std::uint64_t secured_ = 0;  // so much of the file has its room on the disk

  std::mutex mutex_;  // of what sync() uses
  std::condition_variable synced_changed_;
  std::shared_ptr<UniqueFd> fd_;
  Position appended_ = 0;
  Position synced_ = 0;
  bool syncing_ = false;
  int broken_ = 0;  // errno of a failed sync: see rewrite()
};

}  // namespace hwid::transport
