#include "provider/core/audit_file.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <mutex>
#include <new>
#include <optional>

namespace hwid::core {

struct AuditFile::Opened {
  int descriptor;
  dev_t device;
  ino_t inode;
  bool readable;
};

struct AuditFile::State {
  // A child goes on with its parent's file, which it might not be able to open again.
  explicit State(const State* inherited) {
    const Opened* const opened = inherited != nullptr ? inherited->file.load() : nullptr;
    if (opened != nullptr) file = new Opened(*opened);
  }
  ~State() { delete file.load(); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  std::mutex mutex;
  std::atomic<const Opened*> file{
      nullptr};                // deleted after another one is there: a fork may read it
  std::optional<bool> parted;  // the last line in the file has no end; unset: look
  bool said_kept = false;
  AuditDrops drops;
};

namespace {

constexpr int kNotRegular = -1;  // beside errno's values

bool is_same(const struct stat& status, dev_t device, ino_t inode) noexcept {
  return status.st_dev == device && status.st_ino == inode;
}

// 0 to 2 may be what the program takes for its standard streams.
int above_standard_streams(int descriptor) noexcept {
  if (descriptor < 0 || descriptor > STDERR_FILENO) return descriptor;
  const int above = fcntl(descriptor, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int error = errno;
  close(descriptor);
  errno = error;
  return above;
}

// The end of a signal that the kernel sends with EFBIG, and that ends a program.
class NoFileSizeSignal {
 public:
  NoFileSizeSignal() noexcept {
    rlimit limit{};
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
    sigset_t pending;
    sigemptyset(&signal_);
    sigaddset(&signal_, SIGXFSZ);
    if (sigpending(&pending) != 0 || sigismember(&pending, SIGXFSZ) == 1) return;  // held already
    blocked_ = pthread_sigmask(SIG_BLOCK, &signal_, &before_) == 0;
  }
  ~NoFileSizeSignal() {
    if (!blocked_) return;
    const int error = errno;
    constexpr timespec kNow{};
    sigtimedwait(&signal_, nullptr, &kNow);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = error;
  }
  NoFileSizeSignal(const NoFileSizeSignal&) = delete;
  NoFileSizeSignal& operator=(const NoFileSizeSignal&) = delete;

 private:
  sigset_t signal_{};
  sigset_t before_{};
  bool blocked_ = false;
};

// The last line in the file has no end, and nobody is just writing it: the size of a file can be
// seen to grow within one write.
bool is_parted(int descriptor) noexcept {
  constexpr int kLooks = 64;
  for (int look = 0; look < kLooks; ++look) {
    struct stat status {};
    char last = '\n';
    const bool seen = fstat(descriptor, &status) == 0 && status.st_size > 0 &&
                      pread(descriptor, &last, 1, status.st_size - 1) == 1 && last != '\n';
    if (!seen) return false;
    sched_yield();
  }
  return true;
}

// Takes `written`, a part of a line, off the end of the file, if it stands there. (Nobody writes in
// between where the disk is full. Where our own limit was met, another process may, in a moment
// that no lock closes which could not be held against us.)
bool take_back(int descriptor, std::string_view written) noexcept {
  struct stat status {};
  std::array<char, audit_field::kLineLimit> there;
  if (fstat(descriptor, &status) != 0) return false;
  const off_t begin = status.st_size - static_cast<off_t>(written.size());
  return begin >= 0 &&
         pread(descriptor, there.data(), written.size(), begin) ==
             static_cast<ssize_t>(written.size()) &&
         written == std::string_view(there.data(), written.size()) &&
         ftruncate(descriptor, begin) == 0;
}

}  // namespace

AuditFile::AuditFile(std::string path, const Log& log)
    : path_(std::move(path)), exe_(executable_path()), log_(log) {
  ready(state_.get());  // where it fails now, it is tried again at each line
}

AuditFile::~AuditFile() {
  const Opened* const file = state_.get().file.load();
  struct stat status {};
  if (file != nullptr && fstat(file->descriptor, &status) == 0 &&
      is_same(status, file->device, file->inode))
    close(file->descriptor);
}

// 0, errno or kNotRegular.
int AuditFile::open(Opened& opened) const noexcept {
  struct stat status {};
  if (lstat(path_.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
    return S_ISLNK(status.st_mode) ? ELOOP : kNotRegular;
  constexpr int kFlags = O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  constexpr mode_t kMode = 0640;
  opened.readable = true;  // for what may have to be taken back
  int descriptor = ::open(path_.c_str(), O_RDWR | kFlags, kMode);
  if (descriptor < 0 && errno == EACCES) {
    opened.readable = false;
    descriptor = ::open(path_.c_str(), O_WRONLY | kFlags, kMode);
  }
  descriptor = above_standard_streams(descriptor);
  if (descriptor < 0) return errno;
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(descriptor);
    return kNotRegular;
  }
  opened.descriptor = descriptor;
  opened.device = status.st_dev;
  opened.inode = status.st_ino;
  return 0;
}

// Sees to it that state.file can be written to, and has the name that it should have if that can
// be. A descriptor that is no longer of our file was closed by the program, and is not touched: it
// is somebody else's.
int AuditFile::ready(State& state) {
  const Opened* const file = state.file.load();
  struct stat ours {};
  struct stat named {};
  const bool is_open = file != nullptr && fstat(file->descriptor, &ours) == 0 &&
                       is_same(ours, file->device, file->inode);
  if (is_open && lstat(path_.c_str(), &named) == 0) {
    if (is_same(named, file->device, file->inode)) return 0;
  } else if (is_open && errno != ENOENT) {
    return 0;  // the directory is closed to us since: privileges were given up
  }
  Opened opened{};
  const int error = open(opened);
  if (error == 0) {
    state.file = new Opened(opened);
    state.parted.reset();
    if (is_open) close(file->descriptor);
    delete file;
    return 0;
  }
  if (!is_open || ours.st_nlink == 0) return error;
  if (!state.said_kept) say(error, "lines go on into the file that had the name before");
  state.said_kept = true;
  return 0;
}

// 0, errno or kNotRegular.
int AuditFile::append(State& state, const AuditLine& line) {
  if (const int error = ready(state)) return error;
  const Opened& file = *state.file.load();
  // Where it was, whoever left the half line may have taken it back since.
  if (!state.parted || (*state.parted && file.readable))
    state.parted = file.readable && is_parted(file.descriptor);
  const std::string_view text = line.file_text(*state.parted);
  ssize_t written = 0;
  {
    const NoFileSizeSignal no_signal;
    do {
      written = write(file.descriptor, text.data(), text.size());
    } while (written < 0 && errno == EINTR);
  }
  if (written < 0) return errno;
  const auto size = static_cast<std::size_t>(written);
  if (size == text.size()) {
    state.parted = false;
    return 0;
  }
  if (size > 0 && !take_back(file.descriptor, text.substr(0, size))) state.parted = true;
  return ENOSPC;
}

void AuditFile::say(int error, const char* consequence) const {
  const char* const cause = error == kNotRegular ? "it is not a regular file"
                            : error == ELOOP     ? "it is a symbolic link"
                                                 : std::strerror(error);
  HWID_LOG(log_, kError,
           "audit: write to " + path_ + ": " + cause + ": " + consequence +
               "; see that the disk has room, and that pid " + std::to_string(getpid()) + " (uid " +
               std::to_string(geteuid()) + ") may write the file");
}

void AuditFile::record(const AuditEvent& event) noexcept {
  try {
    State& state = state_.get();
    const std::lock_guard lock(state.mutex);
    const std::uint64_t told = state.drops.take();
    int error = ENOMEM;
    try {
      error = append(state, AuditLine(event, exe_, told));
    } catch (const std::bad_alloc&) {  // counted as the others
    }
    if (error != 0 && state.drops.lost(told))
      say(error, "lines are lost, and the next one that is not says how many");
  } catch (...) {  // memory is short; the operation goes on
  }
}

}  // namespace hwid::core
