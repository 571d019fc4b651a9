#include "transport/durable_file.h"

#include <fcntl.h>
#include <hwid/transport_error.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace hwid::transport {

namespace {

namespace fs = std::filesystem;

constexpr mode_t kDirectoryMode = 0755;  // what programs of other users connect with lies there
constexpr mode_t kModeBits = 07777;

[[noreturn]] void fail(const char* what, const fs::path& where, int error) {
  throw Error(ErrorKind::environment, what, where.string(), std::strerror(error),
              error == ENOSPC || error == EDQUOT
                  ? "make room on that file system"
                  : "check that the directory is there and may be written to");
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

int write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

// Of "name": the working directory.
fs::path parent_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

// A umask of who enrols by hand would lock out for good the programs that run as somebody else.
// Returns errno.
int open_up(int fd, mode_t wanted) {
  struct stat its {};
  if (::fstat(fd, &its) != 0) return errno;
  const mode_t mode = (its.st_mode & kModeBits) | wanted;
  return mode == (its.st_mode & kModeBits) || ::fchmod(fd, mode) == 0 ? 0 : errno;
}

void make_directory(const char* what, const fs::path& directory) {
  std::error_code unknown;
  if (::mkdir(directory.c_str(), kDirectoryMode) != 0) {
    const int error = errno;
    if (error == EEXIST && fs::is_directory(directory, unknown)) return;
    fail(what, directory, error);
  }
  // A umask may keep even its owner from opening it.
  struct stat made {};
  if (::stat(directory.c_str(), &made) != 0 ||
      ::chmod(directory.c_str(), (made.st_mode & kModeBits) | kDirectoryMode) != 0)
    fail(what, directory, errno);
}

}  // namespace

void sync_directory(const char* what, const fs::path& directory) {
  const Descriptor fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0) fail(what, directory, errno);
}

void rename_durably(const char* what, const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail(what, to, errno);
  sync_directory(what, parent_of(to));
}

void remove_durably(const char* what, const fs::path& file) {
  if (::unlink(file.c_str()) == 0) return sync_directory(what, parent_of(file));
  if (errno != ENOENT) fail(what, file, errno);
}

void write_durably(const char* what, const fs::path& file, std::string_view content, mode_t mode) {
  const fs::path temporary =
      parent_of(file) / (std::string(kTemporaryPrefix) + file.filename().string());
  if (::unlink(temporary.c_str()) != 0 && errno != ENOENT) fail(what, file, errno);
  {
    const Descriptor fd(
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
    int failed = fd.get() < 0 ? errno : write_all(fd.get(), content);
    if (failed == 0) failed = open_up(fd.get(), mode);
    if (failed == 0 && ::fsync(fd.get()) != 0) failed = errno;
    if (failed != 0) {
      if (fd.get() >= 0) ::unlink(temporary.c_str());
      fail(what, file, failed);
    }
  }
  rename_durably(what, temporary, file);
}

void make_directories_durably(const char* what, const fs::path& directory) {
  std::error_code unknown;
  if (fs::is_directory(directory, unknown)) return;
  if (directory.has_parent_path() && directory.parent_path() != directory)
    make_directories_durably(what, directory.parent_path());
  make_directory(what, directory);
  sync_directory(what, parent_of(directory));
}

}  // namespace hwid::transport
