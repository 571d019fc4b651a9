// All backends of a configuration: the one place that names them.
#pragma once

#include <memory>
#include <vector>

#include "provider/core/backend.h"
#include "provider/core/config.h"
#include "provider/core/log.h"

namespace hwid {

// In the order of the configuration. No module and no TPM is touched yet.
std::vector<std::unique_ptr<core::Backend>> make_backends(const core::Config& config,
                                                          const core::Log& log);

}  // namespace hwid
