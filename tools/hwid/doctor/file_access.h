// Who may read a file, in words.
#pragma once

#include <string>

namespace hwid::tool::doctor {

// 0, or the errno with which this process cannot open `path` (a file or directory) to read it.
int read_error(const std::string& path);

// "it is a FIFO": where opening or reading `path` may wait without end, or there is nothing to
// read. Empty: it is an ordinary file, /dev/null, or not there.
std::string no_file(const std::string& path);
// Throws kNotPermitted where no_file says something.
void require_file(const std::string& path);

// The group that may read and write `path`, by name or number. Empty: none but root's own may.
std::string group_of(const std::string& path);

std::string user_text();                          // "user device (1000)": who runs this
std::string owner_text(const std::string& path);  // "owner root (0), group tss (104), mode 0660"

}  // namespace hwid::tool::doctor
