// The tokens that a URI means, as they are when asked.
#pragma once

#include <string>
#include <vector>

#include "provider/core/inventory.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {

// `text`, or where that is a hwid: name the URI that it leads to. Throws kUnsupported for a name
// that leads to a file, kNoObject for an unknown one. --pin-source is added.
core::KeyUri followed(Invocation& invocation, const std::string& text);

// Of the inventory those that `uri` may mean, whatever object it names; never empty. Throws
// kNoToken, which tells what is there. A token whose slot cannot be looked at is never meant.
std::vector<core::TokenInfo> tokens_meant(Invocation& invocation, const core::KeyUri& uri);

// The same, of an inventory that was taken before; may be empty.
std::vector<core::TokenInfo> tokens_meant(const std::vector<core::TokenInfo>& all,
                                          const core::KeyUri& uri);

// The one. Throws kNoToken also where it is several.
core::TokenInfo token_meant(Invocation& invocation, const core::KeyUri& uri);

}  // namespace hwid::tool
