// What an enrolment came to, as it is printed.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tools/hwid/invocation.h"

namespace hwid::tool::enrol {

using Facts = std::vector<std::pair<std::string, Json>>;

// Names are JSON's: for people their underscores are blanks.
void print(Invocation& invocation, const std::string& heading, const Facts& facts);

}  // namespace hwid::tool::enrol
