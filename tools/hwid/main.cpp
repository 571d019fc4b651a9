// hwid SUBCOMMAND: finds the subcommand, reads its options, and turns what is thrown into a message
// and an exit code.
#include <fcntl.h>
#include <hwid/transport_error.h>
#include <openssl/crypto.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <functional>
#include <iostream>
#include <typeinfo>

#include "provider/core/error.h"
#include "provider/core/pin.h"
#include "tools/hwid/command.h"
#include "tools/hwid/completion.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {
namespace {

constexpr const char* kExitCodes =
    "\nExit: 0 good, 1 the answer is no, 2 usage, 3 environment, 4 not decided yet.\n";

std::string full_name(const Command& command) { return std::string("hwid ") + command.name; }

void print_overview(std::ostream& out) {
  out << "hwid SUBCOMMAND [OPTION...]\n\n"
         "Keys in hardware (PKCS#11 tokens, TPM 2.0) for OpenSSL programs: make, see, use and "
         "keep\n"
         "them. hwid(1) tells more; `hwid SUBCOMMAND --help` has options and examples.\n\n";
  std::size_t width = 0;
  for (const Command& command : commands())
    width = std::max(width, std::string_view(command.name).size());
  for (const Command& command : commands()) {
    std::string name = command.name;
    name.resize(width + 2, ' ');
    out << "  " << name << command.summary << '\n';
  }
  out << kExitCodes;
}

void print_help(const Command& command, const po::options_description& options) {
  std::cout << full_name(command) << ' ' << command.arguments << "\n\n"
            << command.about << "\n\n"
            << options << "\nExamples:\n"
            << command.examples << kExitCodes;
}

// What the parser takes for a value and is none. No message shows it: it may be a PIN.
void require_values(const po::parsed_options& parsed, const po::variables_map& options) {
  for (const po::option& option : parsed.options) {
    if (option.position_key >= 0) continue;  // an argument
    const std::string name = "--" + option.string_key;
    for (const std::string& value : option.value) {
      if (value.empty()) throw UsageError(name + ": its value is empty");
      if (name.ends_with("-source") && !core::is_pin_source(value))
        throw UsageError(name +
                         ": file:PATH, env:NAME, credential:NAME or keyring:NAME is expected");
      // lexical_cast makes the largest number of -1.
      const auto& type = options[option.string_key].value().type();
      if (type == typeid(std::uint32_t) && value.starts_with('-'))
        throw UsageError(name + ": a number from 0 on is expected");
    }
  }
}

Exit run(const Command& command, const std::vector<std::string>& words) {
  const po::options_description visible = options_of(command);
  po::options_description all;
  all.add(visible).add_options()("argument", po::value<std::vector<std::string>>());
  po::positional_options_description positional;
  positional.add("argument", -1);
  po::variables_map options;
  try {
    namespace style = po::command_line_style;
    const int strict = style::unix_style & ~style::allow_guessing;  // `--for` is no --force
    const po::parsed_options parsed =
        po::command_line_parser(words).options(all).positional(positional).style(strict).run();
    po::store(parsed, options);
    if (options.count("help") != 0) {
      print_help(command, visible);
      Output::finish();
      return kGood;
    }
    require_values(parsed, options);
    po::notify(options);
  } catch (const po::error& error) {
    throw UsageError(error.what());
  }
  std::vector<std::string> arguments;
  if (options.count("argument") != 0)
    arguments = options["argument"].as<std::vector<std::string>>();
  if (arguments.size() < command.least_arguments || arguments.size() > command.most_arguments)
    throw UsageError(std::string("expects ") +
                     (*command.arguments != '\0' ? command.arguments : "no argument"));
  Invocation invocation(options, std::move(arguments));
  const Exit code = command.run(invocation);
  Output::finish();
  return code;
}

// What the user can answer by another URI or object, and what the machine must be mended for.
Exit code_for(core::Reason reason) {
  using core::Reason;
  switch (reason) {
    case Reason::kBadUri:
      return kUsage;
    case Reason::kNoObject:
    case Reason::kNoPrivateKey:
    case Reason::kSeveralObjects:
    case Reason::kExists:
    case Reason::kPrivateStays:
    case Reason::kPinWrong:
    case Reason::kPinLocked:
    case Reason::kUnsupported:
      return kAnswerIsNo;
    default:
      return kEnvironment;
  }
}

Exit code_for(const transport::Error& error) {
  if (error.pending()) return kPending;
  if (error.kind() == transport::ErrorKind::usage) return kUsage;
  return error.kind() == transport::ErrorKind::refused ? kAnswerIsNo : kEnvironment;
}

Exit guarded(const std::string& name, const std::function<Exit()>& body) {
  try {
    return body();
  } catch (const UsageError& error) {
    Output::note(name + ": " + error.what() + "; see " + name + " --help");
    return kUsage;
  } catch (const core::Error& error) {
    Output::note(name + ": " + error.what());
    return code_for(error.reason);
  } catch (const transport::Error& error) {
    Output::note(name + ": " + error.what());
    return code_for(error);
  } catch (const std::exception& error) {
    Output::note(name + ": " + error.what());
    return kEnvironment;
  }
}

// `hwid complete -- WORD...`: for the script that a shell has. No subcommand, so not in the table.
Exit print_candidates(const std::vector<std::string>& words) {
  const bool has_mark = words.size() > 1 && words[1] == "--";
  for (const std::string& word : complete({words.begin() + (has_mark ? 2 : 1), words.end()}))
    std::cout << printable(word) << '\n';
  Output::finish();
  return kGood;
}

Exit run_words(const std::vector<std::string>& words) {
  if (words.empty()) {
    print_overview(std::cerr);
    return kUsage;
  }
  if (words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    print_overview(std::cout);
    Output::finish();
    return kGood;
  }
  if (words[0] == "--version") {
    std::cout << "hwid " HWID_VERSION "\n";
    Output::finish();
    return kGood;
  }
  if (words[0] == "complete") return print_candidates(words);
  std::size_t used = 0;
  const Command* const command = find_command(words, used);
  if (command == nullptr) {
    Output::note("hwid: " + words[0] + ": no such subcommand; see hwid --help");
    return kUsage;
  }
  return guarded(full_name(*command), [&] {
    return run(*command, {words.begin() + static_cast<std::ptrdiff_t>(used), words.end()});
  });
}

// A file that is opened must not get the number of a standard stream that the caller closed: what
// is meant for that stream would go into it. What stands there instead fails as a closed one does.
bool occupy_standard_streams() noexcept {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    if (::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) return false;
  }
  return true;
}

}  // namespace
}  // namespace hwid::tool

// The backends are in this program and once more in hwid.so: a PIN that a token refused to one of
// them is not sent by the other (provider/core/refused_pins.cpp).
extern "C" __attribute__((visibility("default"))) std::atomic<void*> hwid_refused_pins;
std::atomic<void*> hwid_refused_pins{nullptr};

// Modules hash, and take random numbers, in OpenSSL's default context, which has the default
// provider then whatever openssl.cnf says. Were ours the only one there, SoftHSM would be asked for
// random numbers while it waits for them (C_SetPIN), and never answer.
int main(int argc, char** argv) {
  using namespace hwid::tool;
  if (!occupy_standard_streams()) return kEnvironment;
  ::signal(SIGCHLD, SIG_DFL);  // where a caller ignores it, no child says how it ended
  OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, nullptr);
  const std::vector<std::string> words(argv + 1, argv + argc);
  return guarded("hwid", [&] { return run_words(words); });
}
