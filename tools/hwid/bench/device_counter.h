// What devices are asked: PKCS#11 calls and TPM commands, counted.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "provider/core/config.h"

namespace hwid::tool::bench {

// Stands between this process and the devices of a configuration. One a process. Counts may be read
// while others are counted.
class DeviceCounter {
 public:
  // Before anything is opened: of modules and TPMs that are open already nothing is counted, nor of
  // modules that the configuration does not name (p11-kit's), or more than a few.
  explicit DeviceCounter(const core::Config& config);

  // By name ("C_Sign", "TPM2_Sign"), since the process began.
  std::map<std::string, std::uint64_t> counts() const;

 private:
  std::vector<std::shared_ptr<void>> kept_;  // so that they are used
};

// What `after` has more than `before`.
std::map<std::string, std::uint64_t> difference(const std::map<std::string, std::uint64_t>& after,
                                                const std::map<std::string, std::uint64_t>& before);

}  // namespace hwid::tool::bench
