// What an examination found, for people and programs.
#pragma once

#include "tools/hwid/doctor/examination.h"

namespace hwid::tool::doctor {

bool is_healthy(const Examination& examination);

// All that was found of that weight, in the order of the way.
void print(Output& out, Weight weight, const Examination& examination);
Json json_of(Weight weight, const Examination& examination);

// What was looked at and is in order: "token dev, key hwid://device".
std::string passed_text(const Examination& examination);

// The answer of `hwid doctor`, in both forms, and its exit code.
Exit report(Output& out, const Examination& examination);

}  // namespace hwid::tool::doctor
