#include "tools/hwid/completion.h"

#include <algorithm>
#include <array>
#include <set>
#include <span>
#include <sstream>

#include "provider/core/uri.h"
#include "tools/hwid/command.h"
#include "tools/openssl_conf/location.h"
#include "tools/openssl_conf/provider_section.h"

namespace hwid::tool {
namespace {

using Words = std::vector<std::string>;

Words split(const std::string& text) {
  std::istringstream stream(text);
  Words words;
  for (std::string word; stream >> word;) words.push_back(std::move(word));
  return words;
}

// The option that `word` is ("--out", "--out=FILE", "-t"); null if it is none.
const po::option_description* find_option(const po::options_description& options,
                                          const std::string& word) {
  const std::string name = word.substr(0, word.find('='));
  for (const auto& option : options.options()) {
    const bool is_short = name.size() == 2 && option->format_name().starts_with(name + " [");
    if (is_short || name == "--" + option->long_name()) return option.get();
  }
  return nullptr;
}

bool takes_value(const po::option_description& option) {
  return option.semantic()->max_tokens() > 0;
}

// "FILE", "URI": what the option's value is called.
std::string value_name(const po::option_description& option) {
  const Words words = split(option.format_parameter());
  return words.empty() ? "" : words[0];
}

// What the command's arguments are called, in their order: "[URI]", "FILE...".
Words argument_names(const Command& command) {
  Words names = split(command.arguments);
  const auto end = std::ranges::find_if(names, [](const std::string& name) {
    return name.starts_with("-") || name.starts_with("[-") || name.starts_with("[OPTION");
  });
  names.erase(end, names.end());
  return names;
}

// The keys and tokens of openssl.cnf.
Words uris(const std::string& openssl_conf) {
  const auto section = openssl_conf::ProviderSection::read(openssl_conf::locate(openssl_conf).path);
  Words all;
  for (const std::string& name : section.below("keys"))
    all.push_back("hwid://" + core::uri_escape(name));
  for (const std::string& backend : split(section.get("backends").value_or(""))) {
    const auto token = section.get(backend + ".token");
    const bool is_tpm = section.get(backend + ".type") == "tpm2";
    if (token && !token->empty())
      all.push_back("pkcs11:token=" + core::uri_escape(*token));
    else if (!is_tpm)
      all.push_back("pkcs11:");
    if (is_tpm) all.push_back("tpm2:");
  }
  return all;
}

// Options with a value of that name take these words (DIGEST, REASON: and others).
struct Choice {
  std::string_view name;
  std::string_view words;
};
constexpr auto kChoices = std::to_array<Choice>({
    {"TYPE",
     "ec:P-256 ec:P-384 ec:P-521 rsa:2048 rsa:3072 rsa:4096 rsa-pss:2048 rsa-pss:3072 "
     "rsa-pss:4096 ed25519 ed448 x25519 x448"},
    {"PROFILE", "client server both"},
    {"USAGE", "client server both"},
    {"DIGEST", "sha256 sha384 sha512"},
    {"REASON",
     "keyCompromise superseded cessationOfOperation affiliationChanged CACompromise "
     "certificateHold"},
    {"STATE", "warning critical"},
    {"OPERATION", "load login sign decrypt derive generate enrol"},
    {"FORM", "private draft both"},
    {"KIND", "rsa ecc L-1 L-2 H-1 H-2 H-3 H-4 H-6 H-7"},
    {"HANDLE", "owner endorsement platform null"},
});

// What fits where a value of that name is expected.
Words values(const std::string& name, const std::string& openssl_conf) {
  const auto* const choice = std::ranges::find(kChoices, std::string_view(name), &Choice::name);
  if (choice != kChoices.end()) return split(std::string(choice->words));
  const auto has = [&name](const char* part) { return name.find(part) != std::string::npos; };
  Words all;
  if (has("URI")) all = uris(openssl_conf);
  if (has("SOURCE")) all = {"file:", "env:", "credential:", "keyring:"};
  const bool is_file = std::ranges::any_of(
      std::to_array({"FILE", "DIR", "CERT", "CSR", "REQUEST", "CHALLENGE", "ANSWER"}), has);
  if (is_file) all.emplace_back(kFilesFit);
  return all;
}

Words subcommands(const std::string& group) {
  std::set<std::string> names;
  for (const Command& command : commands()) {
    const Words name = split(command.name);
    if (group.empty()) names.insert(name[0]);
    if (name.size() == 2 && name[0] == group) names.insert(name[1]);
  }
  return {names.begin(), names.end()};
}

// The words of one command, its name taken off.
class CommandLine {
 public:
  CommandLine(const Command& command, std::span<const std::string> words)
      : command_(command), options_(options_of(command)), before_(words.first(words.size() - 1)) {
    std::string option;
    for (const std::string& word : before_) {
      if (expected_ != nullptr) {
        if (expected_->long_name() == "openssl-conf") openssl_conf_ = word;
        expected_ = nullptr;
      } else if (!word.starts_with("-") || word == "-") {
        ++arguments_;
      } else if (word.find('=') == std::string::npos) {
        const auto* const found = find_option(options_, word);
        if (found != nullptr && takes_value(*found)) expected_ = found;
      }
    }
  }

  Words candidates(const std::string& current) const {
    if (expected_ != nullptr) return values(value_name(*expected_), openssl_conf_);
    const std::size_t equals = current.find('=');
    if (current.starts_with("-") && equals != std::string::npos)
      return values_of(current.substr(0, equals));
    if (current.starts_with("-")) return option_names();
    const Words names = argument_names(command_);
    if (names.empty()) return option_names();
    const bool goes_on = names.back().find("...") != std::string::npos;
    if (arguments_ >= names.size() && !goes_on) return option_names();
    return values(names[std::min(arguments_, names.size() - 1)], openssl_conf_);
  }

 private:
  Words values_of(const std::string& name) const {  // of --NAME=
    const auto* const option = find_option(options_, name);
    if (option == nullptr || !takes_value(*option)) return {};
    Words all = values(value_name(*option), openssl_conf_);
    for (std::string& value : all) {
      if (value != kFilesFit) value.insert(0, name + "=");
    }
    return all;
  }

  Words option_names() const {
    Words names;
    for (const auto& option : options_.options()) names.push_back("--" + option->long_name());
    return names;
  }

  const Command& command_;
  po::options_description options_;
  std::span<const std::string> before_;
  const po::option_description* expected_ = nullptr;  // whose value comes next
  std::size_t arguments_ = 0;
  std::string openssl_conf_;
};

Words candidates(const Words& words) {
  if (words.size() <= 1) {
    Words all = subcommands("");
    all.insert(all.end(), {"--help", "--version"});
    return all;
  }
  std::size_t used = 0;
  const Command* const command = find_command({words.begin(), words.end() - 1}, used);
  if (command == nullptr) return {};
  if (words.size() == 2 && !words[1].starts_with("-")) {
    Words group = subcommands(words[0]);
    if (!group.empty()) return group;
  }
  return CommandLine(*command, std::span(words).subspan(used)).candidates(words.back());
}

}  // namespace

std::vector<std::string> complete(const std::vector<std::string>& words) noexcept try {
  const std::string current = words.empty() ? "" : words.back();
  Words all = candidates(words);
  std::erase_if(all, [&current](const std::string& word) {
    return word != kFilesFit && !word.starts_with(current);
  });
  return all;
} catch (...) {  // a shell that asks for words wants no message between them
  return {};
}

}  // namespace hwid::tool
