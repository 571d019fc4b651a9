// Since when old generations are out of use: each has a time of its own, so that renewals that
// come often keep none of them for ever.
#pragma once

#include <chrono>
#include <ctime>
#include <vector>

#include "tools/hwid/renewal/state.h"
#include "transport/credential_store.h"

namespace hwid::tool::renewal {

// Notes those below `current` that no run before has noted: not later than `switched`, when that
// became the current one, they were out of use. Forgets those that are gone, or in use again.
void note_superseded(State& state,
                     const std::vector<transport::CredentialStore::Generation>& generations,
                     unsigned current, std::time_t switched);

// Whether nobody is to wait for a generation of note_superseded() any more: it is out of use for
// `keep_old`.
bool is_long_superseded(const State& state, unsigned generation, std::chrono::seconds keep_old);

}  // namespace hwid::tool::renewal
