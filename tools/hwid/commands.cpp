#include "tools/hwid/commands.h"

namespace hwid::tool {
namespace {

const Command kCommands[] = {kList,
                             kInit,
                             kInitSoftHsm,
                             kInitSwtpm,
                             kInitToken,
                             kGenerate,
                             kCsr,
                             kCa,
                             kCaInit,
                             kCaSign,
                             kCaRevoke,
                             kCaCrl,
                             kCaList,
                             kImport,
                             kExport,
                             kRef,
                             kEnroll,
                             kEnrollEst,
                             kReEnroll,
                             kReEnrollEst,
                             kRenew,
                             kPin,
                             kPinState,
                             kPinChange,
                             kPinUnblock,
                             kDelete,
                             kVerify,
                             kAttest,
                             kAttestRequest,
                             kAttestChallenge,
                             kAttestAnswer,
                             kAttestAccept,
                             kAttestEvidence,
                             kVerifyAttestation,
                             kBench,
                             kStatus,
                             kDoctor,
                             kAudit,
                             kProvision,
                             kProvisionAws,
                             kProvisionAzure,
                             kAws,
                             kAwsPolicy,
                             kAwsCredentials,
                             kGreengrass,
                             kGreengrassClassic,
                             kGreengrassLite,
                             kEnable,
                             kDisable};

}  // namespace

std::span<const Command> commands() noexcept { return kCommands; }

}  // namespace hwid::tool
