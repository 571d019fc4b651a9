// Who may read a file, in words.
#pragma once

#include <string>

namespace hwid::tool::doctor {

// 0, or the errno with which this process cannot open `path` (a file or directory) to read it.
int read_error(const std::string& path);

std::string user_text();                          // "user device (1000)": who runs this
std::string owner_text(const std::string& path);  // "owner root (0), group tss (104), mode 0660"

}  // namespace hwid::tool::doctor
