#include "provider/core/config.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "provider/core/audit.h"
#include "provider/core/error.h"
#include "provider/core/uri.h"

namespace hwid::core {
namespace {

// pkcs11-provider's and libp11's settings for what is not needed, or always so, here: no session is
// bound to an operation, nothing is finalized early, the public half is exported
// and no operation is offered that could be in the way.
constexpr std::array<const char*, 7> kUnneeded = {"pkcs11-module-quirks",
                                                  "pkcs11-module-cache-sessions",
                                                  "pkcs11-module-cache-pins",
                                                  "pkcs11-module-load-behavior",
                                                  "pkcs11-module-allow-export",
                                                  "pkcs11-module-block-operations",
                                                  "debug_level"};

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

  // As strtoul reads it with base 0.
  std::optional<unsigned long> slot(const char* key) const {
    const std::string value = text(key);
    if (value.empty()) return std::nullopt;
    std::string_view digits = value;
    const bool hexadecimal = digits.starts_with("0x") || digits.starts_with("0X");
    if (hexadecimal) digits.remove_prefix(2);
    const int base = hexadecimal ? 16 : digits.starts_with('0') && digits.size() > 1 ? 8 : 10;
    unsigned long slot = 0;
    const char* const end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, slot, base);
    if (error != std::errc() || stop != end)
      reject(prefix_ + key, value, "write the number of a slot, as in 0x1e4b6f2");
    return slot;
  }

  std::optional<Secret> secret(const char* key) const {
    std::optional<std::string> value = lookup_(prefix_ + key);
    if (!value || value->empty()) return std::nullopt;
    const Cleansed guard(*value);
    return Secret(as_bytes(*value));
  }

  // The one of `choices` that the value names; the first where there is none.
  template <typename Value>
  Value choice(const char* key,
               std::initializer_list<std::pair<const char*, Value>> choices) const {
    const std::string value = text(key);
    std::string names;
    for (const auto& [name, meaning] : choices) {
      if (value.empty() || value == name) return meaning;
      names.append(names.empty() ? "" : ", ").append(name);
    }
    reject(prefix_ + key, value, "write one of " + names);
  }

  // What a value that names a section leads to: a lookup in that.
  ConfigLookup nested(const char* key) const {
    if (const auto value = lookup_(prefix_ + key); value && !value->empty())
      reject(prefix_ + key, *value,
             "openssl.cnf has no section [" + *value + "]; write one, or leave this out");
    return [lookup = lookup_, prefix = prefix_ + key + "."](const std::string& name) {
      return lookup(prefix + name);
    };
  }

  std::optional<std::uint32_t> parent(const char* key) const {
    const std::string value = text(key);
    if (value.empty()) return std::nullopt;
    const std::optional<std::uint32_t> handle = parse_parent(value);
    if (!handle)
      reject(prefix_ + key, value,
             "write a persistent handle such as 0x81000001, or owner, endorsement, platform or "
             "null");
    return handle;
  }

  // An object's name in the TPM: two bytes for the hash algorithm, then the digest.
  Bytes object_name(const char* key) const {
    const std::string value = text(key);
    Bytes name;
    for (std::size_t at = 0; at + 1 < value.size(); at += 2) {
      const auto byte = parse_handle(value.substr(at, 2));
      if (!byte || value[at + 1] == 'x' || value[at + 1] == 'X') break;
      name.push_back(static_cast<std::uint8_t>(*byte));
    }
    const bool fits = name.empty() || name.size() == 22 || name.size() == 34 || name.size() == 50 ||
                      name.size() == 66;
    if (!fits || name.size() * 2 != value.size())
      reject(prefix_ + key, value,
             "write the key's name in hexadecimal digits, as `tpm2_readpublic -c HANDLE` shows it");
    return name;
  }

  std::vector<NamedObject> objects(const char* key) const {
    std::vector<NamedObject> all;
    for (const std::string& word : list(key)) {
      const std::size_t equals = word.find('=');
      NamedObject object;
      object.name = word.substr(0, equals);
      const std::string target = equals == std::string::npos ? "" : word.substr(equals + 1);
      if (target.find('/') != std::string::npos)
        object.file = target;
      else if (target.starts_with("0x"))
        object.handle = parse_handle(target);
      const HandleKind kind = object.handle ? handle_kind(*object.handle) : HandleKind::kOther;
      if (object.name.empty() || (object.file.empty() && kind != HandleKind::kPersistent &&
                                  kind != HandleKind::kTransient && kind != HandleKind::kNv))
        reject(prefix_ + key, word,
               "write NAME=0x81000002 (a persistent key), NAME=0x1500000 (an NV index) or "
               "NAME=/path/key.pem");
      if (std::ranges::find(all, object.name, &NamedObject::name) != all.end())
        reject(prefix_ + key, word, "the name is there twice");
      all.push_back(std::move(object));
    }
    return all;
  }

 private:
  const ConfigLookup& lookup_;
  std::string prefix_;
};

// Settings whose value no message may show.
bool is_pin_setting(std::string_view name) {
  return name == "pin" || name == "pkcs11-module-token-pin" || name.ends_with(".pin");
}

BackendConfig::Login login(const Section& section, const char* key) {
  using Login = BackendConfig::Login;
  return section.choice<Login>(
      key, {{"auto", Login::kAuto}, {"always", Login::kAlways}, {"never", Login::kNever}});
}

// In pkcs11-provider "never" is said of public objects only; a private key is always logged in for.
BackendConfig::Login legacy_login(const Section& section) {
  using Login = BackendConfig::Login;
  const auto forced = environment("PKCS11_FORCE_LOGIN");
  if (forced ? *forced != "0" : section.text("force_login") == "1") return Login::kAlways;
  const Login said = login(section, "pkcs11-module-login-behavior");
  return said == Login::kNever ? Login::kPrivate : said;
}

void read_pkcs11(const Section& section, BackendConfig& config) {
  config.module = section.text("module");
  config.init_args = section.text("init-args");
  config.environment = section.list("environment");
  config.max_sessions = section.number("max-sessions", 1024);
  config.login = login(section, "login-behavior");
  config.cache_pin = section.flag("cache-pin", true);
  config.cache_keys = section.flag("cache-keys", true);
  config.allow_final_try = section.flag("allow-final-try", false);
}

// What holds for a TPM without a section, too: tpm2-openssl's `tcti` and environment.
void read_tpm2_defaults(const ConfigLookup& lookup, BackendConfig& config) {
  config.type = "tpm2";
  if (config.tcti.empty()) config.tcti = environment("TPM2OPENSSL_TCTI").value_or("");
  if (config.tcti.empty()) config.tcti = lookup("tcti").value_or("");
  if (const char* const auth = secure_getenv("TPM2OPENSSL_PARENT_AUTH");
      auth != nullptr && *auth != '\0')
    config.parent_auth = Secret(as_bytes(auth));
}

void read_tpm2(const Section& section, const ConfigLookup& lookup, BackendConfig& config) {
  using Session = BackendConfig::Session;
  config.tcti = section.text("tcti");
  config.objects = section.objects("objects");
  config.session = section.choice<Session>(
      "session", {{"auto", Session::kAuto}, {"none", Session::kNone}, {"hmac", Session::kHmac}});
  config.parent = section.parent("parent");
  config.parent_name = section.object_name("parent-name");
  config.exclusive = section.flag("exclusive", false);
  config.default_policy = section.nested("policy");
  config.policies = section.nested("policies");
  config.verify_all = section.choice<bool>("verify-signatures", {{"first", false}, {"all", true}});
  read_tpm2_defaults(lookup, config);
}

// For a TPM URI where the configuration names no backend at all.
BackendConfig implicit_tpm(const ConfigLookup& lookup) {
  BackendConfig config;
  config.name = "tpm2";
  config.implicit = true;
  read_tpm2_defaults(lookup, config);
  return config;
}

BackendConfig read_backend(const ConfigLookup& lookup, const std::string& name) {
  if (is_pin_setting(name))
    reject("backends", name, "a setting has that name; give the backend another one");
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
               " = SECTION` and a [SECTION] with `type = pkcs11` or `type = tpm2`");
  config.token = section.text("token");
  config.pin_source = section.text("pin-source");
  config.pin = section.secret("pin");
  if (config.type == "pkcs11")
    read_pkcs11(section, config);
  else if (config.type == "tpm2")
    read_tpm2(section, lookup, config);
  else
    reject(name + ".type", config.type, "unknown backend type; this module has pkcs11 and tpm2");
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
  config.login = legacy_login(section);
  config.environment = section.list("environment");
  config.cache_keys = section.flag("pkcs11-module-cache-keys", true);
  constexpr const char* kDefaultSlot = "pkcs11-module-default-slot-id";
  config.default_slot = section.slot(kDefaultSlot);
  if (config.default_slot && config.module.empty())
    reject(kDefaultSlot, section.text(kDefaultSlot),
           "each of p11-kit's modules numbers its slots by itself; name one with "
           "pkcs11-module-path (p11-kit-proxy.so numbers those of all), or leave this out and "
           "name the token in the URI with token=");
  set_legacy_pin(config, section.secret("pin"));
  set_legacy_pin(config, section.secret("pkcs11-module-token-pin"));
  if (const char* const pin = secure_getenv("PKCS11_PIN"); pin != nullptr && *pin != '\0') {
    config.pin_source.clear();
    config.pin = Secret(as_bytes(pin));
  }
  return config;
}

// In the order in which they are searched.
std::vector<BackendConfig> read_backends(const ConfigLookup& lookup) {
  const Section section(lookup, "");
  std::vector<BackendConfig> backends;
  for (const std::string& name : section.list("backends"))
    backends.push_back(read_backend(lookup, name));
  const bool configured = !backends.empty();
  // The environment's module is searched first; one that has a section keeps what that says.
  auto variable = environment("PKCS11_PROVIDER_MODULE");
  if (!variable) variable = environment("PKCS11_MODULE_PATH");
  const auto others =
      std::stable_partition(backends.begin(), backends.end(), [&](const BackendConfig& backend) {
        return variable && backend.type == "pkcs11" && same_file(backend.module, *variable);
      });
  if (variable && others == backends.begin())
    backends.insert(backends.begin(), read_legacy(lookup, "environment", *variable));
  if (backends.empty()) {
    std::string module = section.text("pkcs11-module-path");
    if (module.empty()) module = section.text("pkcs11_module");
    // An empty module means p11-kit's configured ones.
    const char* const name = module.empty() ? "p11-kit" : "module";
    backends.push_back(read_legacy(lookup, name, std::move(module)));
  }
  if (!configured) backends.push_back(implicit_tpm(lookup));
  return backends;
}

// What a bare `genpkey` with our property means. Under tpm2-openssl's name it makes keys in the
// TPM, as its users expect. (Under pkcs11-provider's it makes no key on a token: TLS asks in the
// same way for the key of each connection, and nobody would take those away again.)
std::string read_keygen(const ConfigLookup& lookup, const std::vector<BackendConfig>& backends) {
  std::string keygen = lookup("keygen").value_or("");
  // OpenSSL gives the section of that name instead of the value.
  if (const auto type = lookup("keygen.type"))
    reject("keygen", *type,
           "the value is the name of a section, which OpenSSL then puts in its place; call the "
           "section something else than the backend, as in tpm = hwid_tpm");
  if (keygen.empty()) {
    const auto tpm = std::ranges::find(backends, "tpm2", &BackendConfig::type);
    return lookup(OSSL_PROV_PARAM_CORE_PROV_NAME) == "tpm2" && tpm != backends.end() ? tpm->name
                                                                                     : "software";
  }
  if (keygen != "software" &&
      std::ranges::find(backends, keygen, &BackendConfig::name) == backends.end())
    reject("keygen", keygen, "write software, or the name of a backend");
  return keygen;
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
  for (const char* const name : kUnneeded) {
    if (lookup(name)) config.unneeded.emplace_back(name);
  }
  (void)AuditSetting::parse(section.text("audit"));  // who made it is the provider
  if (const auto keys = lookup("keys"))
    reject("keys", *keys,
           "openssl.cnf has no section [" + *keys + "]; write one with lines NAME = URI");

  config.backends = read_backends(lookup);
  config.keygen = read_keygen(lookup, config.backends);
  return config;
}

std::optional<std::string> Config::resolve(const std::string& name) const {
  if (auto uri = lookup_("keys." + name)) return uri;
  if (state_dir.empty()) return std::nullopt;
  const std::string path = state_dir + "/" + name + "/current/key.pem";
  return access(path.c_str(), F_OK) == 0 ? std::optional(path) : std::nullopt;
}

// TPM 2.0 Part 2, 7.4 has the hierarchies' handles.
std::optional<std::uint32_t> parse_parent(std::string_view text) {
  constexpr std::pair<const char*, std::uint32_t> kHierarchies[] = {{"owner", 0x40000001},
                                                                    {"null", 0x40000007},
                                                                    {"endorsement", 0x4000000b},
                                                                    {"platform", 0x4000000c}};
  const std::optional<std::uint32_t> handle = parse_handle(text);
  for (const auto& [name, hierarchy] : kHierarchies) {
    if (text == name || handle == hierarchy) return hierarchy;
  }
  if (!handle || handle_kind(*handle) != HandleKind::kPersistent) return std::nullopt;
  return handle;
}

void set_environment(const std::vector<std::string>& assignments) {
  for (const std::string& assignment : assignments) {
    const std::size_t equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0)
      reject("environment", assignment, "write NAME=VALUE");
    setenv(assignment.substr(0, equals).c_str(), assignment.substr(equals + 1).c_str(), 0);
  }
}

bool configures_tpm(const ConfigLookup& lookup) {
  if (lookup(OSSL_PROV_PARAM_CORE_PROV_NAME) == "tpm2" || lookup("tcti")) return true;
  return std::ranges::any_of(Section(lookup, "").list("backends"), [&](const std::string& name) {
    return lookup(name + ".type") == "tpm2";
  });
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
