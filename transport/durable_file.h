#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string_view>

namespace hwid::transport {

// Files that are there whole, or not at all, also after a power loss. All throw Error of kind
// environment, `what` being what failed. Threads: any, on different files.

// What makes a name a temporary one; such names are what a crash may leave behind.
constexpr std::string_view kTemporaryPrefix = ".new-";

// The content lies in DIRECTORY/.new-NAME, synced, before one rename gives it its name, in place of
// what has it. `mode` is what it has, whatever the umask. One process at a time for one path.
void write_durably(const char* what, const std::filesystem::path& file, std::string_view content,
                   mode_t mode);

// One rename, in place of what has the name `to`, which a power loss does not undo.
void rename_durably(const char* what, const std::filesystem::path& from,
                    const std::filesystem::path& to);

// Not there any more, also after a power loss; one that is not there is good.
void remove_durably(const char* what, const std::filesystem::path& file);

void sync_directory(const char* what, const std::filesystem::path& directory);

// With all directories above it that are missing, each synced into the one above, and open to all
// users whatever the umask. What is there stays as it is.
void make_directories_durably(const char* what, const std::filesystem::path& directory);

}  // namespace hwid::transport
