#include "tools/hwid/aws/credential_cache.h"

#include <fcntl.h>
#include <linux/keyctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "provider/core/secret.h"
#include "tools/hwid/descriptor.h"
#include "tools/hwid/files.h"

namespace hwid::tool::aws {
namespace {

constexpr std::size_t kMost = std::size_t{32} << 10;
// keyctl_setperm(3): all for whoever has it in a keyring, and for the user's other processes.
constexpr unsigned kForTheUser = 0x3f3f0000;

}  // namespace

std::optional<std::string> KeyringCache::load() {
  const long key =
      ::syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_USER_KEYRING, "user", name_.c_str(), 0);
  if (key < 0) return std::nullopt;
  std::string text(kMost, '\0');
  const long size = ::syscall(SYS_keyctl, KEYCTL_READ, key, text.data(), text.size());
  if (size < 0 || size > static_cast<long>(kMost)) return std::nullopt;
  text.resize(static_cast<std::size_t>(size));
  return text;
}

void KeyringCache::keep(const std::string& text, std::chrono::seconds time) {
  const long key = ::syscall(SYS_add_key, "user", name_.c_str(), text.data(), text.size(),
                             KEY_SPEC_USER_KEYRING);
  if (key < 0) return;
  const bool good = ::syscall(SYS_keyctl, KEYCTL_SETPERM, key, kForTheUser) == 0 &&
                    ::syscall(SYS_keyctl, KEYCTL_SET_TIMEOUT, key, time.count()) == 0;
  if (!good) (void)::syscall(SYS_keyctl, KEYCTL_REVOKE, key);  // else it would stay for ever
}

std::optional<std::string> FileCache::load() {
  const Descriptor fd(::open(path_.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat status {};
  const bool is_ours = fd.get() >= 0 && ::fstat(fd.get(), &status) == 0 &&
                       S_ISREG(status.st_mode) && status.st_uid == ::geteuid() &&
                       (status.st_mode & 0077) == 0;
  if (!is_ours || status.st_size > static_cast<off_t>(kMost)) return std::nullopt;
  std::string text(static_cast<std::size_t>(status.st_size), '\0');
  const core::Cleansed guard(text);
  const ssize_t size = ::read(fd.get(), text.data(), text.size());
  if (size < 0) return std::nullopt;
  text.resize(static_cast<std::size_t>(size));
  const std::string line = name_ + "\n";
  return text.starts_with(line) ? std::optional(text.substr(line.size())) : std::nullopt;
}

void FileCache::keep(const std::string& text, std::chrono::seconds) {
  std::string content;
  content.reserve(name_.size() + 1 + text.size());  // it does not move, and leaves no copy behind
  content.append(name_).append("\n").append(text);
  const core::Cleansed guard(content);
  write_file(path_, content, 0600, Existing::kReplace);
}

}  // namespace hwid::tool::aws
