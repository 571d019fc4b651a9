#include "provider/core/pin.h"

#include <fcntl.h>
#include <linux/keyctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "provider/core/error.h"

namespace hwid::core {
namespace {

constexpr std::size_t kLongestPin = 256;

[[noreturn]] void missing(const std::string& source, const std::string& why,
                          const std::string& next) {
  throw Error(Reason::kPinMissing, "pin-source " + source + ": " + why + "; " + next);
}

// First line, one trailing CR LF off.
void keep_first_line(Secret& pin) {
  const auto bytes = pin.reveal();
  const auto* end = std::find(bytes.data(), bytes.data() + bytes.size(), '\n');
  auto size = static_cast<std::size_t>(end - bytes.data());
  if (size > 0 && size < bytes.size() && bytes[size - 1] == '\r') --size;
  pin.truncate(size);
}

Secret read_file(const std::string& path, const std::string& source, const Log& log) {
  const int file = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (file < 0)
    missing(source, "open " + path + ": " + std::strerror(errno),
            "make the file, readable by this program's user alone");
  struct Closer {
    int descriptor;
    ~Closer() { close(descriptor); }
  } const closer{file};
  struct stat status {};
  if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode))
    missing(source, path + " is no regular file", "name a regular file that holds the PIN");
  if ((status.st_mode & S_IWOTH) != 0)
    throw Error(Reason::kBadConfiguration, "pin-source " + source + ": " + path +
                                               " may be written by everybody; chmod 0400 it");
  if ((status.st_mode & S_IROTH) != 0)
    HWID_LOG(log, kWarn, "pin-source " + source + " may be read by everybody; chmod 0400 it");
  Secret pin(kLongestPin + 3);
  std::size_t size = 0;
  for (;;) {
    const auto room = pin.writable().subspan(size);
    const ssize_t got = room.empty() ? 0 : read(file, room.data(), room.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    size += static_cast<std::size_t>(got);
  }
  pin.truncate(size);
  keep_first_line(pin);
  if (pin.size() > kLongestPin)
    throw Error(Reason::kBadConfiguration, "pin-source " + source + ": the first line of " + path +
                                               " is longer than 256 bytes, so it is no PIN; put "
                                               "the PIN alone into the file");
  return pin;
}

Secret read_variable(const std::string& name, const std::string& source) {
  const char* const value = secure_getenv(name.c_str());
  if (value == nullptr)
    missing(source, "the environment has no variable " + name, "set it, or name another source");
  return Secret(as_bytes(value));
}

Secret read_credential(const std::string& name, const std::string& source, const Log& log) {
  const char* const directory = secure_getenv("CREDENTIALS_DIRECTORY");
  if (directory == nullptr)
    missing(source, "CREDENTIALS_DIRECTORY is not set",
            "run as a systemd service with LoadCredential=" + name + ":PATH");
  if (name.find('/') != std::string::npos)
    throw Error(Reason::kBadConfiguration,
                "pin-source " + source + ": a credential's name has no '/'; write its name alone");
  return read_file(std::string(directory) + "/" + name, source, log);
}

Secret read_keyring(const std::string& name, const std::string& source) {
  const long key =
      syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", name.c_str(), 0);
  Secret pin(kLongestPin);
  const long size =
      key < 0 ? key : syscall(SYS_keyctl, KEYCTL_READ, key, pin.writable().data(), pin.size());
  if (size < 0)
    missing(source, "keyctl: " + std::string(std::strerror(errno)),
            "add it with `keyctl padd user " + name + " @s`");
  if (static_cast<std::size_t>(size) > kLongestPin)
    throw Error(Reason::kBadConfiguration,
                "pin-source " + source + ": the key is longer than 256 bytes; it is no PIN");
  pin.truncate(static_cast<std::size_t>(size));
  keep_first_line(pin);
  return pin;
}

constexpr std::string_view kOtherKinds[] = {"env:", "credential:", "keyring:"};

}  // namespace

bool is_pin_source(std::string_view source) noexcept {
  const auto is_of_kind = [source](std::string_view kind) { return source.starts_with(kind); };
  if (source.starts_with("|")) return false;
  return source.starts_with("file:") || source.find('/') != std::string_view::npos ||
         std::ranges::any_of(kOtherKinds, is_of_kind);
}

std::string pin_source_path(std::string_view source) {
  if (source.starts_with("|")) return "";
  for (const std::string_view prefix : {"file://", "file:"}) {
    if (source.starts_with(prefix)) return std::string(source.substr(prefix.size()));
  }
  for (const std::string_view prefix : kOtherKinds) {
    if (source.starts_with(prefix)) return "";
  }
  return source.find('/') != std::string_view::npos ? std::string(source) : "";
}

Secret read_pin_source(std::string_view written, const Log& log) {
  const std::string source(written);
  const auto rest = [&](std::string_view prefix) { return source.substr(prefix.size()); };
  Secret pin;
  if (source.starts_with("|"))
    throw Error(Reason::kBadConfiguration,
                "pin-source " + source +
                    ": commands are not run; use file:, env:, credential: or "
                    "keyring:");
  if (source.starts_with("env:"))
    pin = read_variable(rest("env:"), source);
  else if (source.starts_with("credential:"))
    pin = read_credential(rest("credential:"), source, log);
  else if (source.starts_with("keyring:"))
    pin = read_keyring(rest("keyring:"), source);
  else if (is_pin_source(source))
    pin = read_file(pin_source_path(source), source, log);
  else
    throw Error(Reason::kBadConfiguration,  // what it is is not shown: a PIN was written there
                "pin-source: unknown kind; write file:PATH, env:NAME, credential:NAME or "
                "keyring:NAME");
  if (pin.empty()) missing(source, "it is empty", "put the PIN into its first line");
  return pin;
}

std::optional<Secret> PinChain::obtain(const std::string& token) const {
  const Log silent;
  const Log& notes = log != nullptr ? *log : silent;
  if (uri_value != nullptr) return uri_value->clone();
  if (uri_source != nullptr) return read_pin_source(*uri_source, notes);
  if (configured_value != nullptr) return configured_value->clone();
  if (configured_source != nullptr) return read_pin_source(*configured_source, notes);
  if (has_prompt()) return (*prompt)(token);
  return std::nullopt;
}

}  // namespace hwid::core
