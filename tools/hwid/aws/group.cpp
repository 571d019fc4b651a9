// hwid aws: what the group is, for who asks.
#include "tools/hwid/commands.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {
namespace {

Exit run(Invocation&) { throw UsageError("policy is expected"); }

}  // namespace

const Command kAws = {
    "aws",
    "policy --config FILE [OPTION...]",
    "policies of AWS IoT Core: its subcommand",
    "What a device needs at AWS beside its certificate: the policies of AWS IoT Core.",
    "  hwid aws policy --config /etc/hwid/device.conf --account 123456789012\n",
    0,
    1,
    nullptr,
    run,
    false};

}  // namespace hwid::tool
