// The modules that p11-kit has configured (/etc/pkcs11, /usr/share/p11-kit/modules).
#pragma once

#include <memory>
#include <vector>

#include "provider/core/log.h"
#include "provider/pkcs11/module.h"

namespace hwid::pkcs11 {

// All but p11-kit-trust, which serves no keys. `like` gives what is not the module's own. A module
// that is not a file of this machine (`remote:`) stays loaded by p11-kit. Does not initialize.
std::vector<std::shared_ptr<Module>> configured_modules(const ModuleSetup& like,
                                                        const core::Log& log);

}  // namespace hwid::pkcs11
