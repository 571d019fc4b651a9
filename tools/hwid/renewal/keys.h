// Keys of credentials: how a generation names its key, and new ones beside the old.
#pragma once

#include <filesystem>
#include <string>

#include "provider/core/uri.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool::renewal {

// PEM that names the key at `source` (a URI, or a file) and holds neither the key nor a PIN. A
// hwid: name is followed: what it means may change with the next generation. Throws core::Error,
// kUnsupported for a key in software.
std::string reference_of(Invocation& invocation, const std::string& source);

// Where the key of generation `number` is made: on the token of `current`, under the same label
// with "-gNUMBER" behind in the place of such an end, or with the first number after it that no key
// has. Empty for a TPM's key, which is made in the generation's own file. Throws core::Error:
// kExists where many numbers are taken.
std::string place_beside(Invocation& invocation, const core::KeyUri& current,
                         const std::string& name, unsigned number);

// A key like the one that the file `reference` names, at `place` (of place_beside). Returns the new
// reference. Throws core::Error.
std::string make_beside(Invocation& invocation, const std::filesystem::path& reference,
                        const std::string& place);

// The URI of the key that a reference file names; a hwid: name is followed, so that it tells where
// the key is. Throws core::Error.
std::string uri_of(Invocation& invocation, const std::filesystem::path& reference);

// The private key that a URI or a file names; null where the token has none. Throws core::Error.
core::EvpPkey find_key(Invocation& invocation, const std::string& source);

// Destroys the key pair, if it is there. Throws core::Error.
void destroy(Invocation& invocation, const std::string& uri);

}  // namespace hwid::tool::renewal
