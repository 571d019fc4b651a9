#pragma once

#include <array>
#include <cstdint>
#include <functional>

namespace hwid::test {

using CallArguments = std::array<std::uint64_t, 6>;

// Runs `body` on a thread of its own, whose system calls of that number (SYS_...) wait until
// `answer`, on the calling thread, says what they fail with (errno), or 0 to let them through.
// False: this kernel lets no thread watch another one's calls, and nothing was run. What `body`
// throws comes through.
bool with_watched_calls(long number, const std::function<int(const CallArguments&)>& answer,
                        const std::function<void()>& body);

}  // namespace hwid::test
