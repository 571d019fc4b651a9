// hwid provision: what the group is, for who asks.
#include "tools/hwid/commands.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {
namespace {

Exit run(Invocation&) { throw UsageError("one of aws, azure is expected"); }

}  // namespace

const Command kProvision = {
    "provision",
    "aws|azure --config FILE [OPTION...]",
    "a new device into a cloud: its two subcommands",
    "Makes a device known to its cloud. The key stays where it is; what is learned (a certificate, "
    "a\n"
    "thing's name, a hub) goes below state-dir, and device.conf is not changed.",
    "  hwid provision aws --config /etc/hwid/device.conf\n"
    "  hwid provision azure --config /etc/hwid/device.conf\n",
    0,
    1,
    nullptr,
    run,
    false};

}  // namespace hwid::tool
