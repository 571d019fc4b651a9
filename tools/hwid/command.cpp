#include "tools/hwid/command.h"

#include <string_view>
#include <utility>

namespace hwid::tool {

const Command* find_command(const std::vector<std::string>& words, std::size_t& used) {
  if (words.empty()) return nullptr;
  const std::string two = words.size() > 1 ? words[0] + " " + words[1] : "";
  for (const auto& [name, count] : {std::pair(two, 2), std::pair(words[0], 1)}) {
    for (const Command& command : commands()) {
      if (name != command.name) continue;
      used = static_cast<std::size_t>(count);
      return &command;
    }
  }
  return nullptr;
}

po::options_description options_of(const Command& command) {
  po::options_description options("Options");
  if (command.add_options != nullptr) command.add_options(options);
  const std::string_view name = command.name;
  const bool is_of_system = name == "enable" || name == "disable";
  auto add = options.add_options();
  add("openssl-conf", po::value<std::string>()->value_name("FILE"),
      is_of_system
          ? "the openssl.cnf to change (default: the system's, whatever OPENSSL_CONF names)"
          : "the openssl.cnf to go by (default: OPENSSL_CONF, else OpenSSL's own)");
  if (command.uses_pin)
    add("pin-source", po::value<std::string>()->value_name("SOURCE"),
        "where the PIN is: file:PATH, env:NAME, credential:NAME, keyring:NAME (default: what "
        "openssl.cnf says, else a question at the terminal)");
  add("json", po::bool_switch(), "the answer as JSON");
  add("help,h", "this text");
  return options;
}

}  // namespace hwid::tool
