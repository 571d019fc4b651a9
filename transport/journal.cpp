#include "transport/journal.h"

#include <fcntl.h>
#include <hwid/transport_error.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/crc.hpp>
#include <cerrno>
#include <cstring>
#include <optional>

#include "transport/log.h"

namespace hwid::transport {

namespace {

constexpr std::string_view kMagic = "HWIDSPL1";
constexpr std::size_t kFrame = 8;  // length and checksum, little endian
constexpr std::uint64_t kChunk = std::uint64_t{256} * 1024;
constexpr mode_t kFileMode = 0600;
constexpr mode_t kDirectoryMode = 0700;

void put_u32(std::string& to, std::uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) to += static_cast<char>(value >> shift & 0xff);
}

std::uint32_t get_u32(std::string_view from) {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(from[i]);
  return value;
}

std::uint32_t checksum(std::string_view bytes) {
  boost::crc_32_type crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

std::string framed(std::string_view record) {
  std::string bytes;
  bytes.reserve(kFrame + record.size());
  put_u32(bytes, static_cast<std::uint32_t>(record.size()));
  put_u32(bytes, checksum(record));
  bytes += record;
  return bytes;
}

bool no_room(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

// errno, or 0.
int allocate(int fd, std::uint64_t from, std::uint64_t to) {
  int result = 0;
  do {
    result = ::fallocate(fd, 0, static_cast<off_t>(from), static_cast<off_t>(to - from));
  } while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : errno;
}

// A file system that cannot promise room: the write itself will tell.
bool promises_room(int error) { return error != EOPNOTSUPP && error != ENOSYS; }

bool is_record(std::string_view frame, std::uint64_t length) {
  return length != 0 && length <= frame.size() - kFrame &&
         checksum(frame.substr(kFrame, length)) == get_u32(frame.substr(4));
}

// None where the bytes at `offset` are no complete record.
std::optional<std::string_view> record_at(std::string_view bytes, std::uint64_t offset) {
  const std::string_view rest = bytes.substr(offset);
  if (rest.size() < kFrame || !is_record(rest, get_u32(rest))) return std::nullopt;
  return rest.substr(kFrame, get_u32(rest));
}

// Whether a good record follows somewhere: then `bytes` is no end that was half written. Where the
// search would take too long, the answer is yes.
bool holds_a_record(std::string_view bytes) {
  constexpr std::uint64_t kMostSummed = std::uint64_t{256} * 1024 * 1024;
  std::uint64_t summed = 0;
  for (; bytes.size() > kFrame; bytes.remove_prefix(1)) {
    const std::uint64_t length = get_u32(bytes);
    if (length == 0 || length > bytes.size() - kFrame) continue;
    summed += length;
    if (summed > kMostSummed || is_record(bytes, length)) return true;
  }
  return false;
}

}  // namespace

UniqueFd::~UniqueFd() {
  if (fd_ >= 0) ::close(fd_);
}

Journal::Journal(std::filesystem::path directory, const Replay& replay)
    : directory_(std::move(directory)), file_(directory_ / "journal"), lock_([this] {
        std::error_code error;
        std::filesystem::create_directories(directory_.parent_path(), error);
        if (::mkdir(directory_.c_str(), kDirectoryMode) != 0 && errno != EEXIST)
          fail("open the spool", errno);
        return ::open((directory_ / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kFileMode);
      }()) {
  lock();
  fd_ = std::make_shared<UniqueFd>(
      ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kFileMode));
  if (fd_->get() < 0) fail("open the spool", errno);
  read(replay);
}

void Journal::fail(const std::string& what, int error) const {
  if (no_room(error))
    throw Error(ErrorKind::full, what, directory_.string(), std::strerror(error),
                "make room on that file system, or wait until messages were sent");
  throw Error(ErrorKind::environment, what, directory_.string(), std::strerror(error),
              error == EIO ? "check the disk: the kernel's log tells more"
                           : "check the directory, its owner and its permissions");
}

void Journal::lock() {
  if (lock_.get() < 0) fail("open the spool", errno);
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) fail("lock the spool", errno);
    std::string owner(32, '\0');
    const ssize_t got = ::pread(lock_.get(), owner.data(), owner.size(), 0);
    owner.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    throw Error(ErrorKind::environment, "open the spool", directory_.string(),
                "it is in use by process " + (owner.empty() ? "(unknown)" : owner),
                "give each process a client-id of its own, or end that one");
  }
  const std::string pid = std::to_string(::getpid());
  // For that message only.
  if (::ftruncate(lock_.get(), 0) != 0 ||
      ::pwrite(lock_.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size()))
    log_line("the spool's lock file " + (directory_ / "lock").string() + " cannot be written");
}

std::string Journal::read_all() const {
  std::string bytes;
  std::string part(kChunk, '\0');
  for (;;) {
    const ssize_t got =
        ::pread(fd_->get(), part.data(), part.size(), static_cast<off_t>(bytes.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("read the spool", errno);
    if (got == 0) return bytes;
    bytes.append(part, 0, static_cast<std::size_t>(got));
  }
}

void Journal::begin() {
  if (::ftruncate(fd_->get(), 0) != 0) fail("open the spool", errno);
  secure(kMagic.size());
  write_at(fd_->get(), 0, kMagic);
  end_ = kMagic.size();
  if (::fsync(fd_->get()) != 0) fail("open the spool", errno);
  const UniqueFd directory(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || ::fsync(directory.get()) != 0) fail("open the spool", errno);
}

void Journal::read(const Replay& replay) {
  const std::string bytes = read_all();
  if (bytes.size() < kMagic.size()) return begin();
  if (std::string_view(bytes).substr(0, kMagic.size()) != kMagic)
    throw Error(ErrorKind::environment, "open the spool", file_.string(),
                "it is no journal of this version", "move it away");
  end_ = kMagic.size();
  while (const auto record = record_at(bytes, end_)) {
    replay(*record);
    end_ += kFrame + record->size();
  }
  secured_ = end_;
  const auto last = bytes.find_last_not_of('\0');
  if (last < end_) return;  // only room that was taken in advance
  drop_rest(std::string_view(bytes).substr(0, last + 1));
}

// Old bytes behind the end must never be taken for records. Zeros keep the room on the disk.
void Journal::drop_rest(std::string_view bytes) {
  const std::string_view rest = bytes.substr(end_);
  const std::string where = "the spool " + file_.string() + ", from byte " + std::to_string(end_) +
                            " to " + std::to_string(bytes.size());
  if (holds_a_record(rest.substr(1))) {
    const auto copy = directory_ / "journal.damaged";
    const UniqueFd fd(
        ::open(copy.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, kFileMode));
    if (fd.get() < 0) fail("keep a copy of the damaged spool", errno);
    write_at(fd.get(), 0, bytes);
    if (::fsync(fd.get()) != 0) fail("keep a copy of the damaged spool", errno);
    log_line(where + ", is damaged, and good records come behind that; this part is dropped, " +
             "messages may be lost, and " + copy.string() + " is a copy of the file as it was");
  } else {
    log_line(where + ", is a record that was not completed; it is dropped");
  }
  try {
    write_at(fd_->get(), end_, std::string(rest.size(), '\0'));
  } catch (const Error&) {
    if (::ftruncate(fd_->get(), static_cast<off_t>(end_)) != 0) fail("open the spool", errno);
  }
}

void Journal::secure(std::uint64_t length) {
  if (length <= secured_) return;
  std::uint64_t upto = length + kChunk;
  int error = allocate(fd_->get(), secured_, upto);
  if (no_room(error)) error = allocate(fd_->get(), secured_, upto = length);
  if (error == 0)
    secured_ = upto;
  else if (promises_room(error))
    fail("write to the spool", error);
}

void Journal::reserve(std::uint64_t room) {
  secure(end_ + room);
  if (::ftruncate(fd_->get(), static_cast<off_t>(secured_)) != 0) fail("open the spool", errno);
}

void Journal::write_at(int fd, std::uint64_t offset, std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("write to the spool", written == 0 ? ENOSPC : errno);
    offset += static_cast<std::uint64_t>(written);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

Journal::Position Journal::append(std::string_view record, std::uint64_t room) {
  {
    const std::lock_guard guard(mutex_);
    if (broken_ != 0) fail("write to the spool", broken_);
  }
  const std::string bytes = framed(record);
  secure(end_ + bytes.size() + room);
  try {
    write_at(fd_->get(), end_, bytes);
  } catch (const Error&) {
    if (::ftruncate(fd_->get(), static_cast<off_t>(end_)) == 0) {
      secured_ = end_;
      guarded("spool", [&] { secure(end_ + room); });
    }
    throw;
  }
  end_ += bytes.size();
  const std::lock_guard guard(mutex_);
  return appended_ += bytes.size();
}

void Journal::sync(Position position) {
  std::unique_lock guard(mutex_);
  while (synced_ < position) {
    if (broken_ != 0) fail("write to the spool", broken_);
    if (syncing_) {
      synced_changed_.wait(guard);
      continue;
    }
    syncing_ = true;
    const auto fd = fd_;
    const Position upto = appended_;
    guard.unlock();
    const int error = ::fdatasync(fd->get()) == 0 ? 0 : errno;
    guard.lock();
    syncing_ = false;
    if (error == 0)
      synced_ = std::max(synced_, upto);
    else if (fd == fd_)  // else all is on the disk in its successor
      broken_ = error;
    synced_changed_.notify_all();
  }
}

bool Journal::broken() {
  const std::lock_guard guard(mutex_);
  return broken_ != 0;
}

void Journal::rewrite(const std::vector<std::string>& records, std::uint64_t room) {
  const auto next = directory_ / "journal.new";
  auto fd = std::make_shared<UniqueFd>(
      ::open(next.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, kFileMode));
  if (fd->get() < 0) fail("write to the spool", errno);
  std::string bytes(kMagic);
  for (const auto& record : records) bytes += framed(record);
  std::uint64_t secured = bytes.size() + room;
  try {
    if (const int error = allocate(fd->get(), 0, secured); error != 0) {
      if (promises_room(error)) fail("write to the spool", error);
      secured = bytes.size();
    }
    write_at(fd->get(), 0, bytes);
    if (::fsync(fd->get()) != 0) fail("write to the spool", errno);
    if (::rename(next.c_str(), file_.c_str()) != 0) fail("write to the spool", errno);
  } catch (const Error&) {
    ::unlink(next.c_str());
    throw;
  }
  const UniqueFd directory(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const int error = directory.get() >= 0 && ::fsync(directory.get()) == 0 ? 0 : errno;
  end_ = bytes.size();
  secured_ = secured;
  const std::lock_guard guard(mutex_);
  fd_ = std::move(fd);
  if (error == 0) synced_ = appended_;
  broken_ = error;
}

void Journal::clear() {
  if (::ftruncate(fd_->get(), static_cast<off_t>(kMagic.size())) != 0)
    fail("write to the spool", errno);
  end_ = secured_ = kMagic.size();
}

}  // namespace hwid::transport
