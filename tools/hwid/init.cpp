// hwid init: what the group is, for who asks.
#include "tools/hwid/commands.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {
namespace {

Exit run(Invocation&) { throw UsageError("one of softhsm, swtpm, token is expected"); }

}  // namespace

const Command kInit = {"init",
                       "softhsm|swtpm|token [OPTION...]",
                       "tokens to begin with: its three subcommands",
                       "Makes a token or a TPM in software, for development, with its openssl.cnf "
                       "and device.conf; or\n"
                       "initializes a real token.",
                       "  hwid init softhsm\n"
                       "  hwid init swtpm\n"
                       "  hwid init token 'pkcs11:slot-id=0' --label line-7\n",
                       0,
                       1,
                       nullptr,
                       run};

}  // namespace hwid::tool
