#include "tools/hwid/files.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "provider/core/error.h"
#include "tools/hwid/descriptor.h"
#include "tools/hwid/new_file.h"
#include "tools/hwid/paths.h"

namespace hwid::tool {
namespace {

using core::Error;
using core::Reason;

// Keys pass through here: memory that the text grows out of is cleansed.
void append(std::string& content, std::string_view part) {
  if (content.capacity() - content.size() < part.size()) {
    std::string longer;
    longer.reserve(std::max(2 * content.capacity(), content.size() + part.size()));
    longer = content;
    content.swap(longer);
    OPENSSL_cleanse(longer.data(), longer.size());
  }
  content += part;
}

[[noreturn]] void refuse(const std::string& path, Existing existing) {
  throw Error(
      Reason::kExists,
      "file=" + path + ": it exists already; name another one" +
          (existing == Existing::kRefuseWithoutForce ? ", or replace it with --force" : ""));
}

}  // namespace

std::string read_file(const std::string& path, std::size_t most) {
  const bool standard = path == "-";
  const Descriptor fd(standard ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) fail_on_file("open", path, errno, "name a file that is there and readable");
  std::string content;
  const auto give_up = [&] { OPENSSL_cleanse(content.data(), content.size()); };
  struct stat status {};
  if (::fstat(fd.get(), &status) == 0 && status.st_size > 0)
    content.reserve(std::min(most, static_cast<std::size_t>(status.st_size)) + 1);
  std::array<char, 16384> part{};
  for (;;) {
    const ssize_t count = ::read(fd.get(), part.data(), part.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error = errno;
      give_up();
      fail_on_file("read", path, error, "name a file");
    }
    if (count == 0) return content;
    append(content, {part.data(), static_cast<std::size_t>(count)});
    OPENSSL_cleanse(part.data(), static_cast<std::size_t>(count));
    if (content.size() > most) {
      give_up();
      throw Error(Reason::kBadParameter, "read: file=" + path + ": more than " +
                                             std::to_string(most) +
                                             " bytes; name the file that is meant");
    }
  }
}

void require_readable(const std::string& path) {
  if (::access(path.c_str(), R_OK) != 0)
    fail_on_file("access", path, errno, "name a file that is there and readable");
}

bool file_exists(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0;
}

void require_writable(const std::string& path, Existing existing) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno != ENOENT) fail_on_file("lstat", path, errno);
    const std::string directory = parent_of(path);
    if (::access(directory.c_str(), W_OK | X_OK) != 0) fail_on_file("access", path, errno);
    return;
  }
  if (!S_ISREG(status.st_mode))
    throw Error(Reason::kNotPermitted,
                "file=" + path + ": " +
                    (S_ISLNK(status.st_mode) ? "a symbolic link" : "no ordinary file") +
                    "; name a file of its own, or print to the standard output");
  if (existing != Existing::kReplace) refuse(path, existing);
}

void write_file(const std::string& path, std::string_view content, mode_t mode, Existing existing) {
  require_writable(path, existing);
  const mode_t mask = ::umask(077);
  ::umask(mask);
  NewFile file(path, content, mode & ~mask);
  if (!file.place(existing)) refuse(path, existing);
}

}  // namespace hwid::tool
