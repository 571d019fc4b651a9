// The programs that hear of a new generation: each of them is due until it has succeeded for that.
#pragma once

#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "tools/hwid/renewal/state.h"
#include "transport/credential_store.h"

namespace hwid::tool::renewal {

// Runs those of `hooks`, which are paths, that are due for the current generation: once, in their
// order, also after one that failed. What became of each is in `state`, which `save` writes before
// the next one is run; before the first one, that none has ended yet. Returns which failed, and
// how. REQUIRES: there is a current generation. Throws core::Error, transport::Error.
std::vector<std::string> run_due_hooks(const std::vector<std::string>& hooks,
                                       const transport::CredentialStore& store, State& state,
                                       const std::function<void()>& save);

// Whether a process runs some now: then one that has not ended was not interrupted.
bool are_hooks_running(const State& state, std::time_t now);

// One that failed, and is none of `hooks` any more, can succeed no more: it is over once nothing
// opens a door that it told nobody of.
void forget_lost_hooks(const std::vector<std::string>& hooks, State& state);

}  // namespace hwid::tool::renewal
