// Names of files and directories.
#pragma once

#include <string>

namespace hwid::tool {

// The absolute form of `path`, with links resolved as far as it exists.
std::string absolute(const std::string& path);

// The absolute form with its links as they are: for a file that is read later, when a link may have
// been switched, as `current` is by a renewal.
std::string absolute_with_links(const std::string& path);

// The directory that `path` is in: "." for a bare name.
std::string parent_of(const std::string& path);

// `text` for a message: a mistyped key URI is taken for the name of a file, and may have a PIN in
// its query, which is cut off.
std::string without_query(const std::string& text);

// A directory of the user's (XDG Base Directories): what the variable says, else `below_home`
// ("/.local/share") in HOME. Empty where the environment says neither.
std::string user_directory(const char* variable, const char* below_home);

// Makes it and what is missing above it, for the user alone. Throws kNotPermitted, whose message
// ends with `next_step`.
void make_private_directory(const std::string& path, const char* next_step);

// Throws kNotPermitted unless `path` is a directory (no link to one) that belongs to who runs this,
// and that nobody else can write: others could put their own keys there, or take away ours.
void require_private_directory(const std::string& path);

// Makes it, as make_private_directory does, or finds it so. What --dir names.
void private_directory(const std::string& path);

}  // namespace hwid::tool
