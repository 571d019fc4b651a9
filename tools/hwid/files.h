// Files that users name: read whole, and written whole or not at all.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace hwid::tool {

enum class Existing {
  kRefuse,
  kRefuseWithoutForce,  // the same where the user has a --force
  kReplace
};

// The whole file, or the standard input where `path` is "-". Throws core::Error: kBadParameter
// where it is longer than `most` bytes, kNotPermitted else. Keys are read here too: what the caller
// gets is the only copy that is left in memory.
std::string read_file(const std::string& path, std::size_t most = std::size_t{1} << 20);

// Throws kNotPermitted unless it could be opened: for what OpenSSL opens itself, whose
// own message would be about something else.
void require_readable(const std::string& path);

// True if something has that name, a dangling symbolic link too.
bool file_exists(const std::string& path);

// Throws kExists if something is at `path` and `existing` refuses, kNotPermitted if it is no
// ordinary file (a symbolic link is none: what it points to would be meant, and the link replaced).
// To be asked before work that costs the user something, such as a PIN.
void require_writable(const std::string& path, Existing existing);

// Writes a new file beside it, syncs it, and gives it the name: readers see the old content or the
// new one, also after a power loss. `mode` is narrowed by the umask. Throws as require_writable.
void write_file(const std::string& path, std::string_view content, mode_t mode, Existing existing);

}  // namespace hwid::tool
