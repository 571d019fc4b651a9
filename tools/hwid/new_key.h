// Where a new key goes, and what it is called then: for the subcommands that make one.
#pragma once

#include <string>

#include "provider/core/backend.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {

struct NewKeyPlace {
  std::string uri;          // for the router
  std::string file;         // of a key that a TPM wraps; empty: it stays on its token
  bool any_handle = false;  // the TPM's next free one
};

// `named`: the URI as the user wrote it; `out`: the file of --out, or empty. Throws UsageError
// where they name no place for a new key, kExists where the file is there.
NewKeyPlace place_for_new_key(Invocation& invocation, const std::string& named,
                              const std::string& out);

// A key of the --type `name`, "ec:P-256". Throws UsageError, which lists them.
core::KeySpec spec_of_type(const std::string& name);

// Makes it there, and writes its file. Throws kExists where one is there already.
core::Object make_new_key(Invocation& invocation, const NewKeyPlace& place,
                          const core::KeySpec& spec);

// The URI by which programs use it.
std::string uri_for_use(const NewKeyPlace& place, const core::Object& object);
// "token NAME", "the TPM, at the persistent handle 0x81000002": for people.
std::string place_text(const NewKeyPlace& place, const core::KeyDescription& key);

}  // namespace hwid::tool
