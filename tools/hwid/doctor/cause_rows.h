// The rows of the table of causes, a file for each part of the way.
#pragma once

#include <span>
#include <vector>

#include "tools/hwid/doctor/cause.h"

namespace hwid::tool::doctor {

// Literals all. In any order: cause.cpp sorts them.
std::span<const Cause> configuration_causes() noexcept;
std::span<const Cause> token_causes() noexcept;
std::span<const Cause> policy_causes() noexcept;
std::span<const Cause> network_causes() noexcept;
std::span<const Cause> greengrass_causes() noexcept;

inline std::vector<std::span<const Cause>> cause_rows() {
  return {configuration_causes(), token_causes(), policy_causes(), network_causes(),
          greengrass_causes()};
}

}  // namespace hwid::tool::doctor
