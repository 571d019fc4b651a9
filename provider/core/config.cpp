#include "provider/core/config.h"

#include <openssl/crypto.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "provider/core/error.h"

namespace hwid::core {
namespace {

// pkcs11-provider's and libp11's settings for what is not needed, or always so, here: no session is
// bound to an operation, no key is copied, nothing is finalized early, the public half is exported
// and no operation is offered that could be in the way.
constexpr std::array<const char*, 8> kUnneeded = {
    "pkcs11-module-quirks",           "pkcs11-module-cache-keys",
    "pkcs11-module-cache-sessions",   "pkcs11-module-cache-pins",
    "pkcs11-module-load-behavior",    "pkcs11-module-allow-export",
    "pkcs11-module-block-operations", "debug_level"};

[[noreturn]] void reject(const std::string& key, const std::string& value, const std::string& why) {
  throw Error(Reason::kBadConfiguration, "openssl.cnf: " + key + " = " + value + ": " + why);
}

std::optional<std::string> environment(const char* name) {
  const char* const value = secure_getenv(name);
  return value != nullptr && *value != '\0' ? std::optional<std::string>(value) : std::nullopt;
}

bool same_file(const std::string& one, const std::string& other) {
  std::error_code ignored;
  return one == other || std::filesystem::equivalent(one, other, ignored);
}

std::vector<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> all;
  for (std::string word; stream >> word;) all.push_back(word);
  return all;
}

// Reads one section's values by the names of design: NAME.KEY.
class Section {
 public:
  Section(const ConfigLookup& lookup, std::string prefix)
      : lookup_(lookup), prefix_(std::move(prefix)) {}

  std::string text(const char* key) const { return lookup_(prefix_ + key).value_or(""); }
  std::vector<std::string> list(const char* key) const { return words(text(key)); }

  bool flag(const char* key, bool otherwise) const {
    const std::string value = text(key);
    if (value.empty()) return otherwise;
    if (value == "yes" || value == "true" || value == "on" || value == "1") return true;
    if (value == "no" || value == "false" || value == "off" || value == "0") return false;
    reject(prefix_ + key, value, "write yes or no");
  }

  std::size_t number(const char* key, std::size_t most) const {
    const std::string value = text(key);
    if (value.empty()) return 0;
    std::size_t number = 0;
    const char* const end = value.data() + value.size();
    const auto [stop, error] = std::from_chars(value.data(), end, number);
    if (error != std::errc() || stop != end || number == 0 || number > most)
      reject(prefix_ + key, value, "write a number from 1 to " + std::to_string(most));
    return number;
  }

  std::optional<Secret> secret(const char* key) const {
    std::optional<std::string> value = lookup_(prefix_ + key);
    if (!value || value->empty()) return std::nullopt;
    const Cleansed guard(*value);
    return Secret(as_bytes(*value));
  }

  BackendConfig::Login login(const char* key) const {
    const std::string value = text(key);
    if (value.empty() || value == "auto") return BackendConfig::Login::kAuto;
    if (value == "always") return BackendConfig::Login::kAlways;
    if (value == "never") return BackendConfig::Login::kNever;
    reject(prefix_ + key, value, "write auto, always or never");
  }

 private:
  const ConfigLookup& lookup_;
  std::string prefix_;
};

BackendConfig read_backend(const ConfigLookup& lookup, const std::string& name) {
  if (const auto value = lookup(name))
    reject(name, *value,
           "openssl.cnf has no section [" + *value +
               "]; write one with the backend's type and module");
  const Section section(lookup, name + ".");
  BackendConfig config;
  config.name = name;
  config.type = section.text("type");
  if (config.type.empty())
    reject("backends", name,
           "the backend has no section with a type; write `" + name +
               " = SECTION` and a [SECTION] with `type = pkcs11`");
  if (config.type != "pkcs11")
    reject(name + ".type", config.type, "unknown backend type; this module has pkcs11");
  config.module = section.text("module");
  config.token = section.text("token");
  config.pin_source = section.text("pin-source");
  config.pin = section.secret("pin");
  config.init_args = section.text("init-args");
  config.environment = section.list("environment");
  config.max_sessions = section.number("max-sessions", 1024);
  config.login = section.login("login-behavior");
  config.cache_pin = section.flag("cache-pin", true);
  config.allow_final_try = section.flag("allow-final-try", false);
  return config;
}

// The PIN of pkcs11-provider's and libp11's configurations: literal, or "file:PATH".
void set_legacy_pin(BackendConfig& config, std::optional<Secret> pin) {
  if (!pin) return;
  const auto bytes = pin->reveal();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.starts_with("file:"))
    config.pin_source = text;
  else
    config.pin = std::move(pin);
}

// What pkcs11-provider's and libp11's names say, for a module that the environment, one of these
// names, or p11-kit names.
BackendConfig read_legacy(const ConfigLookup& lookup, std::string name, std::string module) {
  const Section section(lookup, "");
  BackendConfig config;
  config.name = std::move(name);
  config.module = std::move(module);
  config.init_args = section.text("pkcs11-module-init-args");
  if (config.init_args.empty()) config.init_args = section.text("init_args");
  config.login = section.login("pkcs11-module-login-behavior");
  if (section.text("force_login") == "1" || environment("PKCS11_FORCE_LOGIN"))
    config.login = BackendConfig::Login::kAlways;
  config.environment = section.list("environment");
  set_legacy_pin(config, section.secret("pin"));
  set_legacy_pin(config, section.secret("pkcs11-module-token-pin"));
  if (const char* const pin = secure_getenv("PKCS11_PIN"); pin != nullptr && *pin != '\0') {
    config.pin_source.clear();
    config.pin = Secret(as_bytes(pin));
  }
  return config;
}

}  // namespace

Config Config::read(const ConfigLookup& lookup) {
  const Section section(lookup, "");
  Config config;
  config.lookup_ = lookup;
  config.key_names = section.list("key-names");
  config.state_dir = section.text("state-dir");
  config.allow_uri_module_path = section.flag("allow-uri-module-path", false);
  config.allow_pin_source = section.list("allow-pin-source");
  config.encode_reference = section.flag("pkcs11-module-encode-provider-uri-to-pem", true);
  const std::string keygen = section.text("keygen");
  if (!keygen.empty()) config.keygen = keygen;
  if (config.keygen != "software")
    reject("keygen", config.keygen, "write software; keys are made on a token by a key URI");
  for (const char* const name : kUnneeded) {
    if (lookup(name)) config.unneeded.emplace_back(name);
  }
  if (const auto audit = lookup("audit"))
    reject("audit", *audit, "this version writes no audit trail; remove the line");
  if (const auto keys = lookup("keys"))
    reject("keys", *keys,
           "openssl.cnf has no section [" + *keys + "]; write one with lines NAME = URI");

  auto variable = environment("PKCS11_PROVIDER_MODULE");
  if (!variable) variable = environment("PKCS11_MODULE_PATH");
  for (const std::string& name : section.list("backends"))
    config.backends.push_back(read_backend(lookup, name));
  // The environment's module is searched first; one that has a section keeps what that says.
  const auto configured = std::stable_partition(
      config.backends.begin(), config.backends.end(), [&](const BackendConfig& backend) {
        return variable && same_file(backend.module, *variable);
      });
  if (variable && configured == config.backends.begin())
    config.backends.insert(config.backends.begin(), read_legacy(lookup, "environment", *variable));
  if (!config.backends.empty()) return config;
  std::string module = section.text("pkcs11-module-path");
  if (module.empty()) module = section.text("pkcs11_module");
  // An empty module means p11-kit's configured ones.
  config.backends.push_back(
      read_legacy(lookup, module.empty() ? "p11-kit" : "module", std::move(module)));
  return config;
}

std::optional<std::string> Config::resolve(const std::string& name) const {
  if (auto uri = lookup_("keys." + name)) return uri;
  if (state_dir.empty()) return std::nullopt;
  const std::string path = state_dir + "/" + name + "/current/key.pem";
  return access(path.c_str(), F_OK) == 0 ? std::optional(path) : std::nullopt;
}

void set_environment(const std::vector<std::string>& assignments) {
  for (const std::string& assignment : assignments) {
    const std::size_t equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0)
      reject("environment", assignment, "write NAME=VALUE");
    setenv(assignment.substr(0, equals).c_str(), assignment.substr(equals + 1).c_str(), 0);
  }
}

std::vector<std::string> configured_environment(const ConfigLookup& lookup) {
  const Section section(lookup, "");
  std::vector<std::string> all = section.list("environment");
  for (const std::string& name : section.list("backends")) {
    for (std::string& assignment : Section(lookup, name + ".").list("environment"))
      all.push_back(std::move(assignment));
  }
  return all;
}

}  // namespace hwid::core
