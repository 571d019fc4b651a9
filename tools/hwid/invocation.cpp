#include "tools/hwid/invocation.h"

#include <openssl/conf.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/ui.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>

#include "provider/backends.h"
#include "provider/core/error.h"
#include "provider/tpm2/tcti.h"
#include "tools/hwid/descriptor.h"
#include "tools/openssl_conf/module.h"

namespace hwid::tool {

using core::Error;
using core::Reason;

namespace {

void prepare_environment(const core::ConfigLookup& lookup) {
  core::set_environment(core::configured_environment(lookup));
  // Where nothing is configured, a TPM and p11-kit's modules are tried that need not be there.
  if (core::configures_tpm(lookup) || !lookup("backends"))
    core::set_environment(tpm2::quiet_environment());
}

// Every OpenSSL program takes a file that is not there for an empty one, without a word. What the
// user wrote in this command is meant to be there.
void require_conf(const openssl_conf::Location& location, bool is_of_option) {
  if (location.path.empty() || ::access(location.path.c_str(), F_OK) == 0) return;
  const int error = errno;
  if (is_of_option)
    fail_on_file("access", location.path, error, "name an openssl.cnf that is there");
  if (location.path != openssl_conf::system_default().path)
    Output::note(location.why + " names " + location.path + ": " + std::strerror(error) +
                 "; OpenSSL programs go on as if it were empty, and so does this one");
}

}  // namespace

Invocation::Invocation(const po::variables_map& options, std::vector<std::string> arguments)
    : options_(options), arguments_(std::move(arguments)), output_(flag("json")) {}

Invocation::~Invocation() = default;

std::string Invocation::text(const char* option) const {
  return has(option) ? options_[option].as<std::string>() : "";
}

bool Invocation::flag(const char* option) const {
  return has(option) && options_[option].as<bool>();
}

std::shared_ptr<const core::Secret> Invocation::secret(const char* option) {
  if (!has(option)) return nullptr;
  return std::make_shared<const core::Secret>(core::read_pin_source(text(option), log()));
}

const openssl_conf::Location& Invocation::location() {
  if (!location_) location_ = openssl_conf::locate(text("openssl-conf"));
  return *location_;
}

const openssl_conf::ProviderSection& Invocation::section() {
  if (section_) return *section_;
  require_conf(location(), has("openssl-conf"));
  section_ = openssl_conf::ProviderSection::read(location().path);
  return *section_;
}

// As the provider does it: HWID_LOG comes first.
const core::Log& Invocation::log() {
  if (!log_) {
    const char* const variable = secure_getenv("HWID_LOG");
    log_ = std::make_unique<core::Log>(variable != nullptr ? variable : "warn:stderr");
  }
  return *log_;
}

const core::Libcrypto& Invocation::software() {
  if (!software_) software_ = std::make_unique<core::Libcrypto>();
  return *software_;
}

core::AuditSink* Invocation::audit() {
  if (!audit_ && !audit_is_made_) {
    audit_is_made_ = true;
    audit_ = core::make_audit_sink(core::AuditSetting::parse(section().get("audit").value_or("")),
                                   log());
  }
  return audit_.get();
}

std::unique_ptr<core::Router> Invocation::make_router(const core::ConfigLookup& lookup,
                                                      core::AuditSink* audit) {
  prepare_environment(lookup);
  return std::make_unique<core::Router>(
      software(), log(), audit, lookup,
      [this](const core::Config& config) { return make_backends(config, log()); });
}

core::Router& Invocation::router() {
  if (!router_) router_ = make_router(lookup(), settings_ ? nullptr : audit());
  return *router_;
}

core::Router& Invocation::router_without_login() {
  if (router_without_login_) return *router_without_login_;
  ::unsetenv("PKCS11_FORCE_LOGIN");
  // tpm2-tss complains of each TPM that it does not find by itself, on a machine without one too.
  core::set_environment(tpm2::quiet_environment());
  const core::ConfigLookup lookup = this->lookup();
  router_without_login_ = make_router(
      [lookup](const std::string& name) -> std::optional<std::string> {
        if (name.ends_with("login-behavior")) return "never";
        return name == "force_login" ? std::nullopt : lookup(name);
      },
      nullptr);
  return *router_without_login_;
}

OSSL_LIB_CTX* Invocation::crypto() {
  if (crypto_) return crypto_.get();
  crypto_.reset(OSSL_LIB_CTX_new());
  if (!crypto_) throw std::bad_alloc();
  const auto fail = [this](const char* call) {
    throw Error(Reason::kBadConfiguration,
                std::string(call) + ": openssl.cnf " + location().path + " (" + location().why +
                    "): " + core::last_libcrypto_error() +
                    "; mend the file, or name the directory of hwid.so with OPENSSL_MODULES");
  };
  prepare_environment(section().lookup());
  ERR_clear_error();
  if (section().is_there() && OSSL_LIB_CTX_load_config(crypto_.get(), location().path.c_str()) != 1)
    fail("OSSL_LIB_CTX_load_config");
  // Ours lies where this command lies, which need not be where OpenSSL looks.
  if (!section().is_there()) {
    const std::filesystem::path module = openssl_conf::find_module().path;
    OSSL_PROVIDER_set_default_search_path(crypto_.get(), module.parent_path().c_str());
  }
  const char* const name = section().is_there() ? section().name().c_str() : "hwid";
  for (const char* const provider : {"default", name}) {
    if (OSSL_PROVIDER_available(crypto_.get(), provider) == 1) continue;
    loaded_.emplace_back(OSSL_PROVIDER_load(crypto_.get(), provider));
    if (!loaded_.back()) fail("OSSL_PROVIDER_load");
  }
  ERR_clear_error();
  return crypto_.get();
}

std::string Invocation::with_pin_source(const std::string& uri, const char* option) const {
  const std::string source = text(option);
  if (source.empty()) return uri;
  const core::KeyUri parsed = core::KeyUri::parse(uri);
  if (parsed.pin_value() || parsed.pin_source())
    throw UsageError("--" + std::string(option) +
                     ": the URI names a PIN itself; leave one of them out");
  const char* const separator = uri.find('?') == std::string::npos ? "?" : "&";
  return uri + separator + "pin-source=" + core::uri_escape(source);
}

core::PinPrompt Invocation::prompt(const char* what) {
  return [what](const std::string& token) -> std::optional<core::Secret> {
    if (!has_terminal()) return std::nullopt;
    std::array<char, 257> pin{};
    const std::string question = std::string(what) + " of " + printable(token) + ": ";
    const core::ErrorMark mark;
    const int failed = EVP_read_pw_string_min(pin.data(), 0, static_cast<int>(pin.size()) - 1,
                                              question.c_str(), 0);
    std::string text(pin.data());
    OPENSSL_cleanse(pin.data(), pin.size());
    const core::Cleansed guard(text);
    if (failed != 0 || text.empty()) return std::nullopt;
    return core::Secret(core::as_bytes(text));
  };
}

bool Invocation::has_terminal() noexcept { return isatty(STDIN_FILENO) == 1; }

bool Invocation::confirmed(const std::string& question) {
  if (!has_terminal()) return false;
  std::cerr << printable(question) << " (yes or no) " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "yes" || answer == "y";
}

}  // namespace hwid::tool
