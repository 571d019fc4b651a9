// The provider's section of openssl.cnf, a KEY=VALUE a line as a program's libcrypto answers them
// ("dev.module=/x.so"); "env:NAME=VALUE" for the environment. Each PIN is one of ours.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <sstream>
#include <string>

#include "fuzz/property.h"
#include "provider/core/config.h"
#include "provider/core/log.h"
#include "provider/core/pin.h"
#include "provider/pkcs11/backend.h"

namespace {

using namespace hwid;
using core::BackendConfig;
using core::Config;
using core::Reason;
using fuzz::require;
using fuzz::succeeds;

using Texts = std::map<std::string, std::string, std::less<>>;

struct World {
  Texts section;
  Texts environment;
  std::size_t variables_set = 0;
};

World& world() {
  static World made;
  return made;
}

bool is_ours(std::string_view variable) {
  return variable == "PKCS11_PROVIDER_MODULE" || variable == "PKCS11_MODULE_PATH" ||
         variable == "PKCS11_PIN" || variable == "PKCS11_FORCE_LOGIN" ||
         variable == "TPM2OPENSSL_TCTI" || variable == "TPM2OPENSSL_PARENT_AUTH";
}

bool is_pin(std::string_view key) {
  return key == "pin" || key == "pkcs11-module-token-pin" || key == "PKCS11_PIN" ||
         key == "TPM2OPENSSL_PARENT_AUTH" || key.ends_with(".pin");
}

void put(Texts& texts, const std::string& key, std::string value) {
  const bool is_source = value.starts_with("file:");
  const bool may_be_source = key == "pin" || key == "pkcs11-module-token-pin";
  if (is_pin(key) && !value.empty() && !(is_source && may_be_source)) value.insert(0, fuzz::kPin);
  texts.insert_or_assign(key, std::move(value));
}

void read_world(const std::string& text) {
  world() = {};
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t equals = line.find('=');
    if (equals == std::string::npos) continue;
    const std::string key = line.substr(0, equals);
    if (!key.starts_with("env:"))
      put(world().section, key, line.substr(equals + 1));
    else if (is_ours(key.substr(4)))
      put(world().environment, key.substr(4), line.substr(equals + 1));
  }
}

std::optional<std::string> lookup(const std::string& name) {
  const auto found = world().section.find(name);
  return found == world().section.end() ? std::nullopt : std::optional(found->second);
}

bool same(const std::optional<core::Secret>& a, const std::optional<core::Secret>& b) {
  if (a.has_value() != b.has_value()) return false;
  return !a || std::ranges::equal(a->reveal(), b->reveal());
}

void check_backend(const BackendConfig& backend, const Config& config) {
  const core::Log silent;
  const bool is_tpm = backend.type == "tpm2";
  require(!backend.name.empty() && (is_tpm || backend.type == "pkcs11"),
          "a backend has a name and a type", backend.name);
  require(backend.max_sessions <= 1024, "max-sessions is bounded");
  for (const std::string* const text : {&backend.name, &backend.module, &backend.token,
                                        &backend.pin_source, &backend.init_args, &backend.tcti})
    require(!fuzz::shows_pin(*text), "a PIN is only where PINs are", *text);
  for (const core::NamedObject& object : backend.objects)
    require(!object.name.empty() && object.handle.has_value() == object.file.empty(),
            "a name of an object means one", object.name);
  if (is_tpm) return;

  const auto made = pkcs11::make_backends(backend, config, silent);
  require(made.size() == 1 && made[0]->name() == backend.name, "a section makes a backend");
  require(backend.token.empty() || made[0]->owns_token(backend.token), "it owns its token");
  core::PinChain pins;
  pins.log = &silent;
  made[0]->add_pins(pins);
  require((pins.configured_value != nullptr) == backend.pin.has_value(), "its PIN is handed on");
  std::optional<core::Secret> pin;
  if (succeeds([&] { pin = pins.obtain("token t"); },
               {Reason::kPinMissing, Reason::kBadConfiguration}))
    require(pin.has_value() == (backend.pin || !backend.pin_source.empty()),
            "a PIN is found exactly where one is configured");
  if (backend.pin) require(same(pin, backend.pin), "the configured PIN is the one");
}

void check_config(const Config& config) {
  require(!config.backends.empty(), "there is a backend");
  require(config.keygen == "software" ||
              std::ranges::count(config.backends, config.keygen, &BackendConfig::name) > 0,
          "keys are made in software or by a backend", config.keygen);
  for (const BackendConfig& backend : config.backends) check_backend(backend, config);
  for (const auto& [key, value] : world().section) {
    if (key.starts_with("keys."))
      require(config.resolve(key.substr(5)) == value, "a name means what stands there", key);
  }
  (void)config.resolve("no-such-name");

  const Config again = Config::read(lookup);
  require(again.backends.size() == config.backends.size(), "reading twice gives the same");
  for (std::size_t i = 0; i < again.backends.size(); ++i) {
    const BackendConfig& a = config.backends[i];
    const BackendConfig& b = again.backends[i];
    require(a.name == b.name && a.module == b.module && a.login == b.login && same(a.pin, b.pin),
            "reading twice gives the same", a.name);
  }
}

}  // namespace

// What the code under test asks for: the environment of the input, and not of this process.
extern "C" char* secure_getenv(const char* name) noexcept {
  if (!is_ours(name)) return std::getenv(name);
  const auto found = world().environment.find(name);
  return found == world().environment.end() ? nullptr : found->second.data();
}

extern "C" int setenv(const char* name, const char*, int replace) noexcept {
  const std::string_view text(name);
  require(!text.empty() && text.find('=') == text.npos && replace == 0,
          "a variable has a name, and is set where unset", text);
  ++world().variables_set;
  return 0;
}

int LLVMFuzzerInitialize(int*, char***) { return 0; }

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (text.find('\0') != std::string::npos || fuzz::shows_pin(text)) return 0;
  read_world(text);
  succeeds([] { check_config(Config::read(lookup)); }, {Reason::kBadConfiguration});
  succeeds(
      [] {
        const std::vector<std::string> assignments = core::configured_environment(lookup);
        core::set_environment(assignments);
        require(world().variables_set == assignments.size(), "every variable is set");
      },
      {Reason::kBadConfiguration});
  // A log file would be written.
  if (const auto log = lookup("log"); log && log->find("file:") == std::string::npos)
    succeeds([&] { const core::Log made(*log); }, {Reason::kBadConfiguration});
  return 0;
}
