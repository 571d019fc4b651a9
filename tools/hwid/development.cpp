#include "tools/hwid/development.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "provider/core/error.h"
#include "tools/hwid/files.h"
#include "tools/hwid/paths.h"
#include "tools/openssl_conf/enabling.h"
#include "tools/openssl_conf/module.h"

namespace hwid::tool {

using core::Error;
using core::Reason;

namespace {

std::string data_directory() {
  std::string directory = user_directory("XDG_DATA_HOME", "/.local/share");
  if (directory.empty()) throw UsageError("HOME is not set; name a directory with --dir");
  return directory;
}

constexpr char kDeviceConf[] =
    R"(# How a device reaches its broker: device.conf(5) has all keys. openssl.cnf says where its
# key is.
endpoint = mqtts://localhost
client-id = device
ca-file = @/ca.pem
cert = @/device.pem
key = hwid://device
topics.publish = device/out
topics.subscribe = device/in
)";

}  // namespace

std::string shell_word(const std::string& text) {
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

Development::Development(Invocation& invocation, const char* name)
    : directory_(absolute(invocation.has("dir") ? invocation.text("dir")
                                                : data_directory() + "/hwid/" + name)) {
  for (const unsigned char c : directory_) {
    if (c < 0x20 || c == 0x7f)
      throw UsageError(directory_ + ": a control character in its name; choose another --dir");
  }
  private_directory(directory_);
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
    std::filesystem::remove_all(*made, error);
  std::filesystem::remove(directory_, error);  // if it is empty
}

void Development::write(const std::string& name, std::string_view content, mode_t mode) {
  write_file(path(name), content, mode, Existing::kRefuse);
  made_.push_back(path(name));
}

void Development::make_directory(const std::string& name) {
  if (::mkdir(path(name).c_str(), 0700) != 0)
    throw Error(
        errno == EEXIST ? Reason::kExists : Reason::kNotPermitted,
        "mkdir: file=" + path(name) + ": " + std::strerror(errno) + "; choose another --dir");
  made_.push_back(path(name));
}

void Development::write_configuration(const std::string& settings) {
  const openssl_conf::Module module = openssl_conf::find_module();
  openssl_conf::Ours ours;
  if (module.needs_path) ours.module = module.path;
  ours.include = path("hwid.cnf");
  write("hwid.cnf", settings, 0644);
  write("openssl.cnf", openssl_conf::whole_file(ours), 0644);
  std::string device = kDeviceConf;
  for (std::size_t at = device.find('@'); at != std::string::npos; at = device.find('@', at))
    device.replace(at, 1, directory_), at += directory_.size();
  write("device.conf", device, 0644);
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
