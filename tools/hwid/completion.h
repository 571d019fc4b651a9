// What a shell offers for the word at the cursor.
#pragma once

#include <string>
#include <vector>

namespace hwid::tool {

// Ends the answer of complete() where names of files fit, too.
constexpr const char* kFilesFit = ":files";

// What can stand in the place of the last of `words`, which follow `hwid` on a command line:
// subcommands, options, URIs, by the table of commands. URIs are those that openssl.cnf has: no
// module is loaded and nobody is asked, since a shell waits for the answer. Does not throw.
std::vector<std::string> complete(const std::vector<std::string>& words) noexcept;

}  // namespace hwid::tool
