#include "tools/hwid/development.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <system_error>

#include "provider/core/error.h"
#include "provider/core/shell_word.h"
#include "tools/hwid/child_process.h"
#include "tools/hwid/files.h"
#include "tools/hwid/paths.h"
#include "tools/openssl_conf/enabling.h"
#include "tools/openssl_conf/module.h"

namespace hwid::tool {

using core::Error;
using core::Reason;
using core::shell_word;

namespace {

std::string data_directory() {
  std::string directory = user_directory("XDG_DATA_HOME", "/.local/share");
  if (directory.empty()) throw UsageError("HOME is not set; name a directory with --dir");
  return directory;
}

constexpr char kUnfinished[] = ".hwid-init";  // what is made, a name a line, until all is

constexpr std::chrono::seconds kStopDeadline{10};
constexpr char kDeviceConf[] =
    R"(# How a device reaches its broker: hwid-device.conf(5) has all keys. openssl.cnf says where
# its key is.
endpoint = mqtts://localhost
client-id = device
ca-file = @/ca.pem
cert = @/device.pem
key = hwid://device
topics.publish = device/out
topics.subscribe = device/in
)";

}  // namespace

Development::Development(Invocation& invocation, const char* name, std::string_view bad_characters)
    : directory_(absolute(invocation.has("dir") ? invocation.text("dir")
                                                : data_directory() + "/hwid/" + name)) {
  for (const char c : directory_) {
    const auto byte = static_cast<unsigned char>(c);
    std::string what;
    if (byte < 0x20 || byte == 0x7f) what = "a control character";
    if (bad_characters.find(c) != std::string_view::npos)
      what = c == ' ' ? "a blank" : std::string("the character ") + c;
    if (!what.empty())
      throw UsageError(directory_ + ": " + what + " in its name; choose another --dir");
  }
  private_directory(directory_);
  lock_.emplace(directory_, "`hwid init`", "choose another --dir");
  if (!file_exists(path("openssl.cnf"))) remove_unfinished();
  // Before anything is made: an earlier token must not be mixed with this one.
  for (const char* const file : {"hwid.cnf", "openssl.cnf", "device.conf"}) {
    if (file_exists(path(file)))
      throw Error(Reason::kExists, "file=" + path(file) +
                                       ": it exists already, from an earlier `hwid init`; use that "
                                       "one, or choose another --dir");
  }
}

Development::~Development() {
  if (kept_) return;
  std::error_code error;
  for (auto made = made_.rbegin(); made != made_.rend(); ++made)
    std::filesystem::remove_all(path(*made), error);
  std::filesystem::remove(path(kUnfinished), error);
  std::filesystem::remove(directory_, error);  // if it is empty
}

void Development::remove_unfinished() {
  if (!file_exists(path(kUnfinished))) return;
  std::istringstream lines(read_file(path(kUnfinished)));
  std::vector<std::string> names;
  for (std::string name; std::getline(lines, name);) {
    if (!name.empty() && name.front() != '.' && name.find('/') == std::string::npos)
      names.push_back(name);
  }
  const bool may_run = std::ranges::find(names, "stop") != names.end();
  if (may_run && file_exists(path("stop"))) run_program({path("stop")}, {}, kStopDeadline);
  std::error_code error;
  for (const std::string& name : names) std::filesystem::remove_all(path(name), error);
  std::filesystem::remove(path(kUnfinished), error);
  Output::note(directory_ + ": what an interrupted `hwid init` had made there was removed");
}

void Development::announce(const std::string& name) {
  if (file_exists(path(name)))
    throw Error(Reason::kExists,
                "file=" + path(name) + ": it exists already; choose another --dir");
  std::string names = name + "\n";
  for (const std::string& earlier : made_) names += earlier + "\n";
  write_file(path(kUnfinished), names, 0600, Existing::kReplace);
  made_.push_back(name);
}

void Development::write(const std::string& name, std::string_view content, mode_t mode) {
  announce(name);
  write_file(path(name), content, mode, Existing::kRefuse);
}

void Development::make_directory(const std::string& name) {
  announce(name);
  if (::mkdir(path(name).c_str(), 0700) != 0)
    throw Error(
        errno == EEXIST ? Reason::kExists : Reason::kNotPermitted,
        "mkdir: file=" + path(name) + ": " + std::strerror(errno) + "; choose another --dir");
}

void Development::keep() noexcept {
  kept_ = true;
  ::unlink(path(kUnfinished).c_str());
}

void Development::write_configuration(const std::string& settings) {
  const openssl_conf::Module module = openssl_conf::find_module();
  openssl_conf::Ours ours;
  if (module.needs_path) ours.module = module.path;
  ours.include = path("hwid.cnf");
  write("hwid.cnf", settings, 0644);
  std::string device = kDeviceConf;
  for (std::size_t at = device.find('@'); at != std::string::npos; at = device.find('@', at))
    device.replace(at, 1, directory_), at += directory_.size();
  write("device.conf", device, 0644);
  write("openssl.cnf", openssl_conf::whole_file(ours), 0644);
}

void Development::show(Output& out, const std::string& heading,
                       const std::vector<std::pair<std::string, std::string>>& facts,
                       const std::vector<std::string>& commands) const {
  Json document;
  out.heading(heading);
  const auto tell = [&](const std::string& name, const std::string& value) {
    out.field(name, value);
    std::string key = name;
    for (char& c : key) c = c == ' ' || c == '.' || c == '-' ? '_' : static_cast<char>(tolower(c));
    document[key] = value;
  };
  tell("directory", directory_);
  for (const auto& [name, value] : facts) tell(name, value);
  tell("openssl.cnf", path("openssl.cnf"));
  tell("device.conf", path("device.conf"));
  tell("fragment", path("hwid.cnf"));
  out.line("\nGo on with:");
  const std::string first = "export OPENSSL_CONF=" + shell_word(path("openssl.cnf"));
  document["commands"] = Json::array({first});
  out.line("  " + printable(first));
  for (const std::string& command : commands) {
    out.line("  " + printable(command));
    document["commands"].push_back(command);
  }
  out.document(document);
}

}  // namespace hwid::tool
