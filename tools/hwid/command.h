// A subcommand: what it is called, what it takes, and what it does.
#pragma once

#include <boost/program_options.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace hwid::tool {

namespace po = boost::program_options;

// Exit codes of every subcommand. kPending: a CA or a cloud has not decided; ask again later.
enum Exit { kGood = 0, kAnswerIsNo = 1, kUsage = 2, kEnvironment = 3, kPending = 4 };

// The command line is wrong: exit code 2, with a hint to --help.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Invocation;

// One row of the table in commands.cpp. All texts are in the user's words.
struct Command {
  const char* name;       // "list"; two words for one of a group: "ca sign"
  const char* arguments;  // as --help shows them: "[URI]"
  const char* summary;    // one line, for the list of commands
  const char* about;      // paragraphs
  const char* examples;   // a line each
  std::size_t least_arguments;
  std::size_t most_arguments;
  void (*add_options)(po::options_description& options);  // besides the common ones; may be null
  Exit (*run)(Invocation& invocation);                    // throws UsageError, core::Error
  bool uses_pin = true;  // else it has no --pin-source, which would be ignored
};

// Every subcommand, in the order in which --help lists them.
std::span<const Command> commands() noexcept;

// The command with the longest name that `words` begin with, and how many of them that is; null if
// there is none.
const Command* find_command(const std::vector<std::string>& words, std::size_t& used);

// The command's own options and those of all.
po::options_description options_of(const Command& command);

}  // namespace hwid::tool
