// Credentials that hwid keeps: generations, and when the next one is due.
#pragma once

#include <hwid/device_config.h>

#include <ctime>

#include "tools/hwid/status/report.h"

namespace hwid::tool::status {

// A row "renewal" for each name below `state-dir`. Reads only: a renewal that is going on is
// neither waited for nor disturbed. What cannot be read is a row, too.
void check_credentials(const transport::DeviceConfig& config, std::time_t now, Report& report);

}  // namespace hwid::tool::status
