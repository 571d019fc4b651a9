// What kind of file a library is.
#pragma once

#include <string>

namespace hwid::tool::doctor {

// "" if `path` is a shared library for this program's machine; else what it is: "a library for
// AArch64 (64 bits), and this program is one for x86-64 (64 bits)", "no library: it begins with
// ...", "empty".
std::string foreign_library(const std::string& path);

}  // namespace hwid::tool::doctor
