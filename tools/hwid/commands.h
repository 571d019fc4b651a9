// The subcommands, one file each.
#pragma once

#include "tools/hwid/command.h"

namespace hwid::tool {

extern const Command kList;
extern const Command kCsr;
extern const Command kDelete;

}  // namespace hwid::tool
