#include "tools/hwid/doctor/module_files.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "tools/hwid/doctor/file_access.h"
#include "tools/hwid/paths.h"
#include "tools/openssl_conf/known_keys.h"

namespace hwid::tool::doctor {
namespace {

namespace fs = std::filesystem;

constexpr char kSoftHsmVariable[] = "SOFTHSM2_CONF";
constexpr char kStoreVariable[] = "TPM2_PKCS11_STORE";

// By the file's own name: a directory's may be anything.
bool is_named(const std::string& module, const char* part) {
  return fs::path(module).filename().string().find(part) != std::string::npos;
}
bool is_softhsm(const std::string& module) { return is_named(module, "softhsm"); }
bool is_tpm2_pkcs11(const std::string& module) { return is_named(module, "tpm2_pkcs11"); }

std::string environment(const char* name) {
  const char* const value = secure_getenv(name);
  return value != nullptr ? value : "";
}

std::string home() {
  std::string variable = environment("HOME");
  if (!variable.empty()) return variable;
  const passwd* const entry = ::getpwuid(::geteuid());
  return entry != nullptr ? entry->pw_dir : "";
}

constexpr const char* kSoftHsmConfs[] = {"/etc/softhsm/softhsm2.conf", "/etc/softhsm2.conf"};

// SoftHSM's Configuration: the variable, then the user's file, then the system's.
std::string softhsm_conf() {
  std::string variable = environment(kSoftHsmVariable);
  if (!variable.empty()) return variable;
  std::string own = home() + "/.config/softhsm2/softhsm2.conf";
  std::error_code none;
  if (fs::exists(own, none)) return own;
  for (const char* const file : kSoftHsmConfs) {
    if (fs::exists(file, none)) return file;
  }
  return kSoftHsmConfs[0];
}

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(" \t\r");
  return begin == std::string::npos
             ? ""
             : text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

std::string token_directory(const std::string& conf) {
  std::ifstream in(conf);
  std::string directory = "/var/lib/softhsm/tokens";
  for (std::string line; std::getline(in, line);) {
    const std::string plain = line.substr(0, line.find('#'));
    const std::size_t equals = plain.find('=');
    if (equals != std::string::npos && trimmed(plain.substr(0, equals)) == "directories.tokendir")
      directory = trimmed(plain.substr(equals + 1));
  }
  return directory;
}

std::string rule_of(const char* variable) {
  return environment(variable).empty() ? std::string("the default: ") + variable + " is not set"
                                       : variable;
}

// 0, or why tokens in there cannot be read and written.
int directory_error(const std::string& directory) {
  struct stat status {};
  if (::stat(directory.c_str(), &status) != 0) return errno;
  if (!S_ISDIR(status.st_mode)) return ENOTDIR;
  return ::access(directory.c_str(), R_OK | W_OK | X_OK) == 0 ? 0 : errno;
}

// One token is a directory below: another user may have made it. Not writable to us is enough of a
// fault, since SoftHSM locks its files.
std::string closed_token(const std::string& directory) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    if (entry.is_directory(error) && ::access(entry.path().c_str(), R_OK | X_OK) != 0)
      return entry.path().string();
  }
  return "";
}

std::optional<ModuleFault> softhsm_fault() {
  const std::string conf = softhsm_conf();
  Values values = {{"conf", conf}, {"rule", rule_of(kSoftHsmVariable)}, {"user", user_text()}};
  if (const int error = read_error(conf); error != 0) {
    values["error"] = std::strerror(error);
    values["owner"] = error == EACCES ? owner_text(conf) : "it has no owner";
    return ModuleFault{error == EACCES ? "softhsm-conf-closed" : "softhsm-conf-not-there", values};
  }
  values["directory"] = token_directory(conf);
  int error = directory_error(values["directory"]);
  if (error == 0) {
    const std::string closed = closed_token(values["directory"]);
    if (closed.empty()) return std::nullopt;
    values["directory"] = closed;
    error = EACCES;
  }
  values["error"] = std::strerror(error);
  values["owner"] = owner_text(values["directory"]);
  const bool is_closed = error == EACCES || error == EPERM || error == EROFS;
  return ModuleFault{is_closed ? "token-directory-closed" : "token-directory-not-there", values};
}

constexpr char kSystemStore[] = "/etc/tpm2_pkcs11";

std::string store_of_tpm2_pkcs11() {
  std::string variable = environment(kStoreVariable);
  if (!variable.empty()) return variable;
  std::error_code none;
  for (const std::string& directory : {std::string(kSystemStore), home() + "/.tpm2_pkcs11"}) {
    if (fs::exists(directory + "/tpm2_pkcs11.sqlite3", none)) return directory;
  }
  return kSystemStore;
}

std::optional<ModuleFault> tpm2_pkcs11_fault() {
  const std::string directory = store_of_tpm2_pkcs11();
  const int error = directory_error(directory);
  if (error == 0) return std::nullopt;
  Values values = {{"directory", directory},
                   {"rule", rule_of(kStoreVariable)},
                   {"user", user_text()},
                   {"owner", owner_text(directory)},
                   {"error", std::strerror(error)}};
  return ModuleFault{
      error == EACCES || error == EROFS ? "tpm2-store-closed" : "tpm2-store-not-there", values};
}

struct Package {
  const char* part;  // of the file's name
  const char* name;  // Debian's package
};
constexpr Package kPackages[] = {{"softhsm", "softhsm2"},     {"tpm2_pkcs11", "libtpm2-pkcs11-1"},
                                 {"opensc", "opensc-pkcs11"}, {"ykcs11", "ykcs11"},
                                 {"softokn", "libnss3"},      {"p11-kit", "p11-kit-modules"}};

std::vector<std::string> library_directories() {
  std::vector<std::string> all;
  for (const char* const root : {"/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt"}) {
    std::error_code error;
    fs::recursive_directory_iterator at(root, fs::directory_options::skip_permission_denied, error);
    for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
      std::error_code none;
      if (!at->is_directory(none) || at->is_symlink(none)) continue;
      if (at.depth() >= 2) at.disable_recursion_pending();
      all.push_back(at->path().string());
    }
    all.emplace_back(root);
  }
  return all;
}

}  // namespace

std::string where_module_is(const std::string& path, const std::string& setting) {
  const std::string name = fs::path(path).filename().string();
  std::error_code none;
  for (const std::string& directory : library_directories()) {
    std::string file = directory;
    file.append("/").append(name);
    if (fs::is_regular_file(file, none))
      return std::string("write `").append(setting).append(file).append("`: there it is");
  }
  std::vector<std::string> beside;
  for (const fs::directory_entry& entry :
       fs::directory_iterator(fs::path(path).parent_path(), none))
    beside.push_back(entry.path().filename().string());
  if (const auto near = openssl_conf::nearest(name, beside))
    return "write `" + setting + (fs::path(path).parent_path() / *near).string() +
           "`: that is there";
  for (const Package& package : kPackages) {
    if (name.find(package.part) != std::string::npos)
      return std::string("install the package that has it (Debian: ") + package.name +
             "), or correct the path";
  }
  return "correct the path, or install the module; its maker's manual says where it is";
}

std::optional<ModuleFault> fault_of_module_files(const std::string& module) {
  if (is_softhsm(module)) return softhsm_fault();
  return is_tpm2_pkcs11(module) ? tpm2_pkcs11_fault() : std::nullopt;
}

std::string variable_of_module(const std::string& module) {
  if (is_softhsm(module)) return kSoftHsmVariable;
  return is_tpm2_pkcs11(module) ? kStoreVariable : "";
}

std::string place_of_module(const std::string& module) {
  const std::string variable = variable_of_module(module);
  if (variable.empty()) return "";
  const std::string place = is_softhsm(module) ? softhsm_conf() : store_of_tpm2_pkcs11();
  const bool is_default =
      environment(variable.c_str()).empty() &&
      (place == kSystemStore || std::ranges::find(kSoftHsmConfs, place) != std::end(kSoftHsmConfs));
  return is_default ? "" : variable + "=" + absolute_with_links(place);
}

std::string where_module_looks(const std::string& module) {
  if (is_softhsm(module))
    return softhsm_conf() + " (" + rule_of(kSoftHsmVariable) + "), which has its tokens in " +
           token_directory(softhsm_conf());
  if (is_tpm2_pkcs11(module)) return store_of_tpm2_pkcs11() + " (" + rule_of(kStoreVariable) + ")";
  return "";
}

}  // namespace hwid::tool::doctor
