// Certificates that are on a token.
#pragma once

#include <vector>

#include "tools/hwid/invocation.h"
#include "tools/hwid/x509/owners.h"

namespace hwid::tool {

// Those that `uri` names, or those beside the private key that it names; one at least. Logs in
// where that is needed. Throws kNoObject: what to do about it; and what the router throws.
std::vector<x509::Certificate> stored_certificates(Invocation& invocation, const core::KeyUri& uri);

}  // namespace hwid::tool
