// The PKCS#11 backend's entry point.
#pragma once

#include <memory>
#include <vector>

#include "provider/core/backend.h"
#include "provider/core/config.h"

namespace hwid::pkcs11 {

// The backends that one section means, as a rule one. Touches no module: that is done when the
// first URI arrives. A section without a module means all that p11-kit has configured. What is
// borrowed must outlive the backends and every key that they open.
std::vector<std::unique_ptr<core::Backend>> make_backends(const core::BackendConfig& section,
                                                          const core::Config& config,
                                                          const core::Log& log);

}  // namespace hwid::pkcs11
