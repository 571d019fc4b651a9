#include "tools/hwid/doctor/lost_variable.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string_view>

namespace hwid::tool::doctor {
namespace {

constexpr int kMostAncestors = 64;

std::string content_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string directory_of(pid_t process) { return "/proc/" + std::to_string(process) + "/"; }

// 0 where there is none, or it cannot be seen.
pid_t parent_of_process(pid_t process) {
  std::istringstream lines(content_of(directory_of(process) + "status"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("PPid:"))
      return static_cast<pid_t>(std::strtol(line.c_str() + 5, nullptr, 10));
  }
  return 0;
}

std::string program_of(pid_t process) {
  std::string name = content_of(directory_of(process) + "comm");
  while (name.ends_with('\n')) name.pop_back();
  return name;
}

std::optional<std::string> variable_of(pid_t process, const std::string& name) {
  const std::string environment = content_of(directory_of(process) + "environ");
  std::istringstream entries(environment);
  for (std::string entry; std::getline(entries, entry, '\0');) {
    if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
  }
  return std::nullopt;
}

bool changes_user(const std::string& program) {
  constexpr std::array<std::string_view, 6> kPrograms = {"sudo",   "su",      "doas",
                                                         "pkexec", "runuser", "sudo-rs"};
  return std::ranges::find(kPrograms, program) != kPrograms.end();
}

}  // namespace

std::optional<LostVariable> lost_variable(const std::string& name) {
  if (std::getenv(name.c_str()) != nullptr) return std::nullopt;
  std::string way = std::getenv("SUDO_COMMAND") != nullptr ? "sudo" : "";
  pid_t process = ::getppid();
  for (int depth = 0; depth < kMostAncestors && process > 1; ++depth) {
    const std::string program = program_of(process);
    if (changes_user(program)) way = program;
    if (!way.empty()) {
      if (const auto value = variable_of(process, name))
        return LostVariable{*value, program + " (" + std::to_string(process) + ")", way};
    }
    process = parent_of_process(process);
  }
  return std::nullopt;
}

}  // namespace hwid::tool::doctor
