// Variables that were lost on the way to this process.
#pragma once

#include <optional>
#include <string>

namespace hwid::tool::doctor {

struct LostVariable {
  std::string value;
  std::string process;  // that has it: "bash (4711)"
  std::string way;      // by which this process came about: "sudo"
};

// A variable that this process does not have, and a process does that started it through sudo, su,
// doas or pkexec. nullopt where nothing of the kind can be seen.
std::optional<LostVariable> lost_variable(const std::string& name);

}  // namespace hwid::tool::doctor
