// hwid aws: what the group is, for who asks.
#include "tools/hwid/commands.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {
namespace {

Exit run(Invocation&) { throw UsageError("one of policy, credentials is expected"); }

}  // namespace

const Command kAws = {
    "aws",
    "policy|credentials --config FILE [OPTION...]",
    "policies and credentials for AWS: its two subcommands",
    "What a device needs at AWS beside its certificate: the policies of AWS IoT Core, and "
    "temporary\n"
    "credentials for AWS's other services.",
    "  hwid aws policy --config /etc/hwid/device.conf --account 123456789012\n"
    "  hwid aws credentials --config /etc/hwid/device.conf\n",
    0,
    1,
    nullptr,
    run,
    false};

}  // namespace hwid::tool
