// The machine's clock: certificates are worth what it is.
#pragma once

#include <ctime>

#include "tools/hwid/status/report.h"

namespace hwid::tool::status {

// `newest_begin`: of all certificates that were looked at; 0 where there are none. A clock before
// that, or before this program was built, is wrong.
void check_clock(std::time_t now, std::time_t newest_begin, Report& report);

}  // namespace hwid::tool::status
