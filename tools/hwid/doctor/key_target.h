// What the name of a key leads to.
#pragma once

#include "tools/hwid/doctor/examination.h"

namespace hwid::tool::doctor {

// Follows examination.key through hwid: names and reference files to the URI, as the provider does;
// loads no module. Reports names that are unknown, and files that cannot be read or hold no key.
void follow_key(Examination& examination);

}  // namespace hwid::tool::doctor
