#include "tools/hwid/audit/lines.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "provider/core/error.h"
#include "tools/hwid/audit/record.h"

namespace hwid::tool::audit {
namespace {

constexpr std::size_t kBufferSize = 16384;

struct Compression {
  std::string_view magic;
  const char* program;
};
constexpr Compression kCompressions[] = {{"\x1f\x8b", "zcat"},
                                         {"BZh", "bzcat"},
                                         {{"\xfd\x37zXZ", 5}, "xzcat"},
                                         {"\x28\xb5\x2f\xfd", "zstdcat"}};

void refuse_compressed(const std::string& path, std::string_view beginning) {
  for (const Compression& each : kCompressions) {
    if (beginning.starts_with(each.magic))
      throw core::Error(core::Reason::kNotPermitted,
                        "read: file=" + path + ": it is compressed; give what is in it: " +
                            each.program + " FILE | hwid audit -");
  }
}

}  // namespace

Lines::Lines(std::string path) : path_(std::move(path)), buffer_(kBufferSize) {
  const bool standard = path_ == "-";
  fd_ = standard ? STDIN_FILENO : ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd_ < 0) fail("open", errno);
  struct stat status {};
  if (::fstat(fd_, &status) != 0) fail("fstat", errno);
  regular_ = S_ISREG(status.st_mode) && !standard;
  device_ = status.st_dev;
  inode_ = status.st_ino;
}

Lines::Lines(Lines&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      regular_(other.regular_),
      device_(other.device_),
      inode_(other.inode_),
      buffer_(std::move(other.buffer_)),
      begin_(other.begin_),
      end_(other.end_),
      first_(other.first_),
      line_(std::move(other.line_)) {}

Lines::~Lines() {
  if (fd_ > STDERR_FILENO) ::close(fd_);
}

void Lines::fail(const char* call, int error) const {
  throw core::Error(core::Reason::kNotPermitted,
                    std::string(call) + ": file=" + path_ + ": " + std::strerror(error) +
                        "; name the file of `audit = file:PATH` in openssl.cnf, or one of the "
                        "system's log, that this user may read");
}

bool Lines::fill() {
  ssize_t count = 0;
  do {
    count = ::read(fd_, buffer_.data(), buffer_.size());
  } while (count < 0 && errno == EINTR);
  if (count < 0) fail("read", errno);
  begin_ = 0;
  end_ = static_cast<std::size_t>(count);
  if (first_) refuse_compressed(path_, {buffer_.data(), end_});
  first_ = false;
  return count > 0;
}

bool Lines::next(std::string_view& line) {
  line_.clear();
  bool any = false;
  while (begin_ < end_ || fill()) {
    any = true;
    const char* const from = buffer_.data() + begin_;
    const char* const to = buffer_.data() + end_;
    const char* const newline = std::find(from, to, '\n');
    const std::size_t room = kLongestLine + 1 - line_.size();
    line_.append(from, std::min(room, static_cast<std::size_t>(newline - from)));
    begin_ = static_cast<std::size_t>(newline - buffer_.data()) + (newline != to ? 1 : 0);
    if (newline != to) break;
  }
  line = line_;
  return any;
}

void Lines::rewind() {
  if (::lseek(fd_, 0, SEEK_SET) != 0) fail("lseek", errno);
  begin_ = end_ = 0;
}

bool Lines::same_file(const Lines& other) const noexcept {
  return regular_ && other.regular_ && device_ == other.device_ && inode_ == other.inode_;
}

}  // namespace hwid::tool::audit
