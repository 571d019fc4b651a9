// What a renewal came to, for people and programs.
#pragma once

#include "tools/hwid/invocation.h"
#include "tools/hwid/renewal/renewal.h"

namespace hwid::tool::renewal {

// kAnswerIsNo where there is no new certificate though there should be one, also where the next try
// is later, or a hook failed;
// kPending where the CA has not decided.
Exit print(Output& out, const Report& report);

// The options of all commands that change credentials: --config, --name, --hook.
void add_common_options(po::options_description& options);
// Of --hook: programs. Throws UsageError for one that cannot be run.
std::vector<std::string> hooks_of(const Invocation& invocation);

}  // namespace hwid::tool::renewal
