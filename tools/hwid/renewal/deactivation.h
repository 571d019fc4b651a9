// Certificates of AWS that nothing here uses any more, and that AWS keeps in force until somebody
// deactivates them: who removes what names one remembers its id first.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tools/hwid/invocation.h"
#include "tools/hwid/renewal/place.h"
#include "tools/hwid/renewal/state.h"
#include "transport/credential_store.h"

namespace hwid::tool::renewal {

// In `state`, once; to be written before the id is removed elsewhere.
void note_to_deactivate(State& state, const std::string& certificate_id);

// The same on the disk, for who has the store and no State. Throws transport::Error.
void remember_to_deactivate(const std::filesystem::path& directory,
                            const std::string& certificate_id);

// note_switch(), and what comes into use is not to be deactivated, whoever gave it up before.
void note_use(State& state, const transport::CredentialStore::Generation& generation);

// Somebody has deactivated those: they are told no more. Returns the others. Throws
// transport::Error, of kind usage for an id that is not among them; then all stay.
std::vector<std::string> forget_deactivated(Invocation& invocation, const Place& place,
                                            const std::vector<std::string>& certificate_ids);

}  // namespace hwid::tool::renewal
