// hwid ca: what the group is, for who asks.
#include "tools/hwid/commands.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {
namespace {

Exit run(Invocation&) { throw UsageError("one of init, sign, revoke, crl, list is expected"); }

}  // namespace

const Command kCa = {
    "ca",
    "init|sign|revoke|crl|list [OPTION...]",
    "a small CA for development: its five subcommands",
    "A certificate authority in a directory, for development and tests: certificates that clients "
    "with\n"
    "strict checks accept (Python 3.13), for devices and servers. Its key can be in a token.",
    "  hwid ca init --subject '/O=Example/CN=Development CA'\n"
    "  hwid ca sign device.csr --profile client --out device.pem\n"
    "  hwid ca revoke device.pem --reason superseded\n"
    "  hwid ca crl --days 7\n"
    "  hwid ca list\n",
    0,
    1,
    nullptr,
    run};

}  // namespace hwid::tool
