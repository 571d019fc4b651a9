// hwid pin: what the group is, for who asks.
#include "tools/hwid/commands.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {
namespace {

Exit run(Invocation&) { throw UsageError("one of state, change, unblock is expected"); }

}  // namespace

const Command kPin = {
    "pin",
    "state|change|unblock [OPTION...]",
    "PINs of tokens: how they are, new ones, and unlocking",
    "How many tries PINs have left, and how old they are; a new PIN, also into the file that holds "
    "it;\n"
    "and what to do where a PIN is locked.",
    "  hwid pin state\n"
    "  hwid pin change 'pkcs11:token=line-7' --generate\n"
    "  hwid pin unblock 'pkcs11:token=line-7' --so-pin-source file:/root/so-pin\n",
    0,
    1,
    nullptr,
    run};

}  // namespace hwid::tool
