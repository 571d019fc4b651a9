// The subcommands, one file each.
#pragma once

#include "tools/hwid/command.h"

namespace hwid::tool {

extern const Command kList;
extern const Command kInit;
extern const Command kInitSoftHsm;
extern const Command kInitSwtpm;
extern const Command kInitToken;
extern const Command kGenerate;
extern const Command kCsr;
extern const Command kCa;
extern const Command kCaInit;
extern const Command kCaSign;
extern const Command kCaRevoke;
extern const Command kCaCrl;
extern const Command kCaList;
extern const Command kImport;
extern const Command kExport;
extern const Command kRef;
extern const Command kEnroll;
extern const Command kEnrollEst;
extern const Command kReEnroll;
extern const Command kReEnrollEst;
extern const Command kRenew;
extern const Command kPin;
extern const Command kPinState;
extern const Command kPinChange;
extern const Command kPinUnblock;
extern const Command kDelete;
extern const Command kVerify;
extern const Command kAttest;
extern const Command kAttestRequest;
extern const Command kAttestChallenge;
extern const Command kAttestAnswer;
extern const Command kAttestAccept;
extern const Command kAttestEvidence;
extern const Command kVerifyAttestation;
extern const Command kBench;
extern const Command kStatus;
extern const Command kDoctor;
extern const Command kAudit;
extern const Command kProvision;
extern const Command kProvisionAws;
extern const Command kProvisionAzure;
extern const Command kAws;
extern const Command kAwsPolicy;
extern const Command kAwsCredentials;
extern const Command kGreengrass;
extern const Command kGreengrassClassic;
extern const Command kGreengrassLite;
extern const Command kEnable;
extern const Command kDisable;

}  // namespace hwid::tool
