// Credentials that hwid keeps: generations, and when the next one is due.
#pragma once

#include <hwid/device_config.h>

#include <ctime>

#include "tools/hwid/status/report.h"

namespace hwid::tool::status {

// Where there is an id-scope, a row "hub" for what Azure has assigned to the device. A row
// "renewal" for each name below `state-dir` that has a pair in use, and a row "enrolment" for what
// was begun there and is not in use, "hook" where programs may not know of it, and "deactivation"
// for what AWS may have in force besides. Reads only: a renewal that is going on is neither waited
// for nor disturbed. What cannot be read is a row, too; what else is there is none.
void check_credentials(const transport::DeviceConfig& config, std::time_t now, Report& report);

}  // namespace hwid::tool::status
