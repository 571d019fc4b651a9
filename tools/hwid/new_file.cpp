#include "tools/hwid/new_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "tools/hwid/descriptor.h"
#include "tools/hwid/output.h"
#include "tools/hwid/paths.h"

namespace hwid::tool {
namespace {

int write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

// No error: the file has its name already, and who is told of an error takes it for not written.
void sync_directory_of(const std::string& path) {
  const Descriptor directory(::open(parent_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() >= 0 && ::fsync(directory.get()) == 0) return;
  Output::note("fsync: file=" + path + ": " + std::strerror(errno) +
               "; it is written, and a power loss soon may still undo that");
}

// Access lists, SELinux's label: a file without them would be another file to the system.
void copy_extended_attributes(const std::string& from, int to) {
  std::vector<char> names(65536);  // XATTR_LIST_MAX
  const ssize_t size = ::listxattr(from.c_str(), names.data(), names.size());
  for (const char* name = names.data(); size > 0 && name < names.data() + size;
       name += std::strlen(name) + 1) {
    std::vector<char> value(65536);  // XATTR_SIZE_MAX
    const ssize_t length = ::getxattr(from.c_str(), name, value.data(), value.size());
    if (length >= 0) (void)::fsetxattr(to, name, value.data(), static_cast<std::size_t>(length), 0);
  }
}

}  // namespace

NewFile::NewFile(std::string path, std::string_view content, mode_t mode) : path_(std::move(path)) {
  std::string name = parent_of(path_) + "/.hwid-XXXXXX";
  const Descriptor fd(::mkostemp(name.data(), O_CLOEXEC));  // O_EXCL, 0600
  if (fd.get() < 0) fail_on_file("mkostemp", path_, errno);
  int failed = write_all(fd.get(), content);
  if (failed == 0 && (::fchmod(fd.get(), mode) != 0 || ::fsync(fd.get()) != 0)) failed = errno;
  if (failed != 0) {
    ::unlink(name.c_str());
    fail_on_file("write", path_, failed, "is the disk full?");
  }
  temporary_ = name;
}

NewFile::~NewFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void NewFile::take_attributes_of(const std::string& other) {
  struct stat status {};
  const Descriptor fd(::open(temporary_.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (fd.get() < 0 || ::stat(other.c_str(), &status) != 0) fail_on_file("stat", other, errno);
  // Before the mode: a change of the owner takes set-id bits off.
  if (::fchown(fd.get(), status.st_uid, status.st_gid) != 0 && errno != EPERM)
    fail_on_file("fchown", path_, errno);
  copy_extended_attributes(other, fd.get());
  if (::fchmod(fd.get(), status.st_mode & 07777) != 0) fail_on_file("fchmod", path_, errno);
  if (::fsync(fd.get()) != 0) fail_on_file("fsync", path_, errno);
}

bool NewFile::place(Existing existing) {
  if (existing == Existing::kReplace) {
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_on_file("rename", path_, errno);
    temporary_.clear();
  } else if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE) ==
             0) {
    temporary_.clear();
  } else {
    if (errno == EEXIST) return false;
    // A file system without that flag; the temporary name goes at the end.
    if (::link(temporary_.c_str(), path_.c_str()) != 0) {
      if (errno == EEXIST) return false;
      fail_on_file("link", path_, errno);
    }
  }
  sync_directory_of(path_);
  return true;
}

void rename_synced(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail_on_file("rename", from, errno);
  sync_directory_of(to);
}

}  // namespace hwid::tool
