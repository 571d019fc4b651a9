// Names of files and directories.
#pragma once

#include <string>

namespace hwid::tool {

// The absolute form of `path`, with links resolved as far as it exists.
std::string absolute(const std::string& path);

}  // namespace hwid::tool
