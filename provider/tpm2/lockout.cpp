#include "provider/tpm2/lockout.h"

namespace hwid::tpm2 {

void require_no_failures(Commands& commands, const std::string& why, const std::string& how) {
  const core::Lockout lockout = commands.lockout();
  if (lockout.failures == 0) return;
  throw core::Error(core::Reason::kPinMissing,
                    "TPM2_GetCapability:" + place_text(commands.place()) + ": " + why +
                        ", and none was given; it is not tried without, as " +
                        std::to_string(lockout.failures) + " of " +
                        std::to_string(lockout.most_failures) +
                        " failures count; name the value: " + how);
}

}  // namespace hwid::tpm2
