// hwid greengrass: what the group is, for who asks.
#include "tools/hwid/commands.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {
namespace {

Exit run(Invocation&) { throw UsageError("one of classic, lite is expected"); }

}  // namespace

const Command kGreengrass = {
    "greengrass",
    "classic|lite [OPTION...]",
    "AWS IoT Greengrass with the device's key: its two subcommands",
    "Writes the configuration of a nucleus of AWS IoT Greengrass whose key is in hardware, and "
    "looks at\n"
    "all that it says before it is in its place.",
    "  hwid greengrass classic --config /etc/hwid/device.conf --nucleus-version 2.14.0\n"
    "  hwid greengrass lite --config /etc/hwid/device.conf\n",
    0,
    1,
    nullptr,
    run,
    false};

}  // namespace hwid::tool
