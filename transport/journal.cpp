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

std::string read_all(int fd) {
  std::string bytes;
  std::string part(kChunk, '\0');
  for (;;) {
    const ssize_t got = ::pread(fd, part.data(), part.size(), static_cast<off_t>(bytes.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return bytes;
    bytes.append(part, 0, static_cast<std::size_t>(got));
  }
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
              "check the directory, its owner and its permissions");
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

void Journal::read(const Replay& replay) {
  const std::string bytes = read_all(fd_->get());
  if (bytes.size() < kMagic.size()) {
    if (::ftruncate(fd_->get(), 0) != 0) fail("open the spool", errno);
    end_ = 0;
    secure(kMagic.size());
    write_at(fd_->get(), 0, kMagic);
    end_ = kMagic.size();
    if (::fsync(fd_->get()) != 0) fail("open the spool", errno);
    const UniqueFd directory(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory.get() < 0 || ::fsync(directory.get()) != 0) fail("open the spool", errno);
    return;
  }
  if (std::string_view(bytes).substr(0, kMagic.size()) != kMagic)
    throw Error(ErrorKind::environment, "open the spool", file_.string(),
                "it is no journal of this version", "move it away");
  end_ = kMagic.size();
  for (;;) {
    const std::string_view rest = std::string_view(bytes).substr(end_);
    if (rest.size() < kFrame) break;
    const std::uint32_t length = get_u32(rest);
    if (length == 0 || length > rest.size() - kFrame) break;
    const std::string_view record = rest.substr(kFrame, length);
    if (checksum(record) != get_u32(rest.substr(4))) break;
    replay(record);
    end_ += kFrame + length;
  }
  if (bytes.find_first_not_of('\0', end_) != std::string::npos)
    log_line("the spool " + file_.string() + " ends with a record that was not completed at byte " +
             std::to_string(end_) + "; it is dropped");
  // Old bytes behind the end must never be taken for records.
  if (::ftruncate(fd_->get(), static_cast<off_t>(end_)) != 0) fail("open the spool", errno);
  secured_ = end_;
}

void Journal::secure(std::uint64_t length) {
  if (length <= secured_) return;
  const auto take = [&](std::uint64_t upto) {
    int result = 0;
    do {
      result = ::fallocate(fd_->get(), 0, static_cast<off_t>(secured_),
                           static_cast<off_t>(upto - secured_));
    } while (result != 0 && errno == EINTR);
    if (result != 0) return errno;
    secured_ = upto;
    return 0;
  };
  int error = take(length + kChunk);
  if (no_room(error)) error = take(length);
  // A file system that cannot promise room: the write itself will tell.
  if (error != 0 && error != EOPNOTSUPP && error != ENOSYS) fail("write to the spool", error);
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
    if (::ftruncate(fd_->get(), static_cast<off_t>(end_)) == 0) secured_ = end_;
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
    else
      broken_ = error;
    synced_changed_.notify_all();
  }
}

void Journal::rewrite(const std::vector<std::string>& records) {
  const auto next = directory_ / "journal.new";
  auto fd = std::make_shared<UniqueFd>(
      ::open(next.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, kFileMode));
  if (fd->get() < 0) fail("write to the spool", errno);
  std::string bytes(kMagic);
  for (const auto& record : records) bytes += framed(record);
  try {
    write_at(fd->get(), 0, bytes);
    if (::fsync(fd->get()) != 0) fail("write to the spool", errno);
    if (::rename(next.c_str(), file_.c_str()) != 0) fail("write to the spool", errno);
  } catch (const Error&) {
    ::unlink(next.c_str());
    throw;
  }
  const UniqueFd directory(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const int error = directory.get() >= 0 && ::fsync(directory.get()) == 0 ? 0 : errno;
  end_ = secured_ = bytes.size();
  const std::lock_guard guard(mutex_);
  fd_ = std::move(fd);
  synced_ = appended_;
  broken_ = error;
}

void Journal::clear() {
  if (::ftruncate(fd_->get(), static_cast<off_t>(kMagic.size())) != 0)
    fail("write to the spool", errno);
  end_ = secured_ = kMagic.size();
}

}  // namespace hwid::transport
