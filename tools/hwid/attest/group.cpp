// hwid attest: what the group is, for who asks.
#include "tools/hwid/commands.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {
namespace {

Exit run(Invocation&) {
  throw UsageError("one of request, challenge, answer, accept, evidence is expected");
}

}  // namespace

const Command kAttest = {
    "attest",
    "request|challenge|answer|accept|evidence [OPTION...]",
    "prove to somebody else that a key is in a TPM: its five subcommands",
    "A TPM proves by its attestation key (AK) that another key is in it, and what its PCRs are. "
    "That\n"
    "the AK is in a genuine TPM is proved once, by the TPM's endorsement key (EK), whose "
    "certificate the\n"
    "maker signed:\n\n"
    "  device    hwid attest request     EK certificate and AK, made if it is not there\n"
    "  verifier  hwid attest challenge   checks both, makes a secret for this AK in this TPM\n"
    "  device    hwid attest answer      the TPM gives the secret out\n"
    "  verifier  hwid attest accept      and the AK is believed, or gets a certificate\n\n"
    "Then, as often as wanted, `hwid attest evidence` on the device and `hwid verify-attestation` "
    "anywhere.",
    "  hwid attest request --ak tpm2:handle=0x81010002 --out request.json\n"
    "  hwid attest challenge request.json --ek-ca tpm-makers/ --state state.json --out "
    "challenge.json\n"
    "  hwid attest answer challenge.json --ak tpm2:handle=0x81010002 --out answer.json\n"
    "  hwid attest accept answer.json --state state.json --out ak.json\n"
    "  hwid attest evidence hwid:device --ak tpm2:handle=0x81010002 \\\n"
    "      --nonce 6f1c90aa0e4b37d85b2af1c4d7e09613 --out evidence.json\n"
    "  hwid verify-attestation evidence.json --nonce 6f1c90aa0e4b37d85b2af1c4d7e09613 \\\n"
    "      --trusted-ak ak.json\n",
    0,
    1,
    nullptr,
    run};

}  // namespace hwid::tool
