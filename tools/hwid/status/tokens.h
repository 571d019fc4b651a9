// Tokens and TPMs: whether they are there, and how many tries their PINs have left.
#pragma once

#include <chrono>
#include <ctime>
#include <optional>
#include <vector>

#include "provider/core/config.h"
#include "provider/core/inventory.h"
#include "tools/hwid/status/report.h"

namespace hwid::tool::status {

// The tokens that are in use: there, initialized, and served by their backend.
std::vector<core::TokenInfo> usable(const std::vector<core::TokenInfo>& inventory);

// A row for each token that openssl.cnf names: that it is there.
void check_presence(const std::vector<core::TokenInfo>& inventory, const core::Config& config,
                    Report& report);

// Rows for what the token says of its user PIN and, of a TPM, of its lockout. Spends no try.
void check_pin(const core::TokenInfo& token, Report& report);

// A row if the age is known. Without `most` it is only told.
void check_pin_age(const core::TokenInfo& token, const core::Config& config,
                   std::optional<std::chrono::seconds> most, std::time_t now, Report& report);

}  // namespace hwid::tool::status
