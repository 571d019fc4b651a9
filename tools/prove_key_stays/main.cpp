// hwid-prove-key-stays: whether the private values of a key are anywhere outside of its token.
// (Whether it can leave: hwid verify.)
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>

#include "tools/prove_key_stays/byte_search.h"
#include "tools/prove_key_stays/token_session.h"

namespace {

namespace fs = std::filesystem;
using hwid::prove::ByteSearch;
using hwid::prove::TokenSession;

enum Exit { kGood = 0, kAnswerIsNo = 1, kUsage = 2, kEnvironment = 3 };

constexpr char kUsageText[] =
    "hwid-prove-key-stays COMMAND MODULE TOKEN PIN-FILE LABEL [ARGUMENT...]\n"
    "\n"
    "MODULE is the path of a PKCS#11 module, TOKEN and LABEL name token and private key.\n"
    "\n"
    "  make-twin   makes an RSA key of that label that may leave the token\n"
    "  search [--except DIR]... PATH...\n"
    "              reads the private values of an extractable key and looks for them in files\n"
    "              and directories; good: they are nowhere\n"
    "  hold        reads the private values, prints \"holding\", and keeps them until it is "
    "killed:\n"
    "              the control, in whose memory a search must find them\n"
    "\n"
    "Exit: 0 good, 1 the answer is no, 2 usage, 3 environment.\n";

using Values = std::vector<std::pair<std::string, hwid::core::Secret>>;

Values private_values(const TokenSession& token, const std::string& label) {
  const CK_OBJECT_HANDLE key = token.private_key(label);
  const hwid::prove::TokenAccess access = token.access(label);
  Values values;
  for (const auto& wanted : hwid::prove::private_attributes(hwid::prove::key_type(access, key))) {
    auto [rv, value] = hwid::prove::read_attribute(access, key, wanted.type);
    if (rv == CKR_OK && value.empty()) rv = CKR_ATTRIBUTE_SENSITIVE;
    hwid::pkcs11::check(rv, "C_GetAttributeValue", access.place);
    values.emplace_back(wanted.name, std::move(value));
  }
  return values;
}

bool is_below(const fs::path& path, const std::vector<fs::path>& directories) {
  for (const fs::path& directory : directories) {
    std::error_code ignored;
    if (fs::equivalent(path, directory, ignored)) return true;
  }
  return false;
}

// Regular files, and those of directories, links not followed.
std::vector<fs::path> files_of(const std::vector<fs::path>& paths,
                               const std::vector<fs::path>& except) {
  std::vector<fs::path> files;
  for (const fs::path& path : paths) {
    if (!fs::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    for (fs::recursive_directory_iterator at(path), end; at != end; ++at) {
      if (at->is_directory() && is_below(at->path(), except)) at.disable_recursion_pending();
      if (at->is_regular_file() && !at->is_symlink()) files.push_back(at->path());
    }
  }
  return files;
}

int search(const TokenSession& token, const std::string& label,
           const std::vector<std::string>& arguments) {
  std::vector<fs::path> paths;
  std::vector<fs::path> except;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--except" && i + 1 < arguments.size())
      except.emplace_back(arguments[++i]);
    else
      paths.emplace_back(arguments[i]);
  }
  ByteSearch wanted;
  for (const auto& [name, value] : private_values(token, label)) wanted.add(name, value.reveal());
  std::uintmax_t bytes = 0;
  bool found_some = false;
  const std::vector<fs::path> files = files_of(paths, except);
  for (const fs::path& file : files) {
    bytes += fs::file_size(file);
    for (const std::string& found : wanted.search(file)) {
      found_some = true;
      std::printf("FOUND in %s: %s\n", file.c_str(), found.c_str());
    }
  }
  std::printf("%s: searched %zu files with %ju bytes\n",
              found_some ? "found private values of the key" : "nothing found", files.size(),
              bytes);
  return found_some ? kAnswerIsNo : kGood;
}

int hold(const TokenSession& token, const std::string& label) {
  Values values = private_values(token, label);
  // In plain memory, unlike a Secret, which a core leaves out.
  std::vector<std::vector<std::uint8_t>> exposed;
  for (const auto& [name, value] : values)
    exposed.emplace_back(value.reveal().begin(), value.reveal().end());
  std::printf("holding %zu values\n", exposed.size());
  std::fflush(stdout);
  pause();
  return exposed.empty() ? kAnswerIsNo : kGood;
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() == 1 && arguments[0] == "--help") {
    std::fputs(kUsageText, stdout);
    return kGood;
  }
  constexpr std::size_t kFixed = 5;
  if (arguments.size() >= kFixed) {
    const std::string& command = arguments[0];
    const std::string& label = arguments[4];
    const std::vector<std::string> rest(arguments.begin() + kFixed, arguments.end());
    const auto open = [&] { return TokenSession(arguments[1], arguments[2], arguments[3]); };
    if (command == "search" && !rest.empty()) return search(open(), label, rest);
    if (command == "hold" && rest.empty()) return hold(open(), label);
    if (command == "make-twin" && rest.empty()) {
      open().generate_twin(label);
      return kGood;
    }
  }
  std::fputs(kUsageText, stderr);
  return kUsage;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "hwid-prove-key-stays: %s\n", error.what());
    return kEnvironment;
  }
}
