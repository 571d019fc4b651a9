// One run of a subcommand: its options, the configuration, and the way to the keys.
#pragma once

#include <openssl/crypto.h>
#include <openssl/provider.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "provider/core/audit.h"
#include "provider/core/libcrypto.h"
#include "provider/core/log.h"
#include "provider/core/router.h"
#include "tools/hwid/command.h"
#include "tools/hwid/output.h"
#include "tools/openssl_conf/location.h"
#include "tools/openssl_conf/provider_section.h"

namespace hwid::tool {

// Everything behind it is made at first use: `hwid audit FILE` loads no module. One thread.
class Invocation {
 public:
  Invocation(const po::variables_map& options, std::vector<std::string> arguments);
  ~Invocation();
  Invocation(const Invocation&) = delete;
  Invocation& operator=(const Invocation&) = delete;

  const std::vector<std::string>& arguments() const noexcept { return arguments_; }
  bool has(const char* option) const { return options_.count(option) != 0; }
  // The option's value; empty if it was not given.
  std::string text(const char* option) const;
  template <typename T>
  std::optional<T> value(const char* option) const {
    return has(option) ? std::optional<T>(options_[option].as<T>()) : std::nullopt;
  }
  bool flag(const char* option) const;  // of a bool_switch
  // What the source that the option names has (as --pin-source); null if it was not given.
  std::shared_ptr<const core::Secret> secret(const char* option);
  Output& out() noexcept { return output_; }

  // openssl.cnf, as every OpenSSL program in this environment would find it, and our section in it.
  // One that --openssl-conf names must be there (kNotPermitted); that the one of OPENSSL_CONF is
  // not is told.
  const openssl_conf::Location& location();
  const openssl_conf::ProviderSection& section();
  const core::Config& config() { return router().config(); }
  const core::Log& log();
  // Of `audit` in our section; null where that is off. Throws kBadConfiguration.
  core::AuditSink* audit();

  // The backends, in this process: what the provider does with a URI. Touches no token by itself.
  core::Router& router();
  // The same, but nothing in openssl.cnf or the environment makes it log in: no PIN is used, and no
  // try of one spent. Of a token's objects only public ones are seen.
  core::Router& router_without_login();
  // In the place of our section of openssl.cnf, for both routers. REQUIRES: none was made.
  void use_settings(core::ConfigLookup lookup) { settings_ = std::move(lookup); }
  const core::Libcrypto& software();

  // A context of OpenSSL's with the providers of openssl.cnf, ours among them, also where the file
  // does not load it. Throws kBadConfiguration where the provider cannot be loaded.
  OSSL_LIB_CTX* crypto();

  // `uri` as a key's name, with --pin-source (or another option) where it says nothing of a PIN
  // itself.
  std::string with_pin_source(const std::string& uri, const char* option = "pin-source") const;
  core::KeyUri parse(const std::string& uri) const {
    return core::KeyUri::parse(with_pin_source(uri));
  }
  // Asks at the terminal, without echo, for the PIN (or `what` it is) of a token; answers nothing
  // where there is no terminal.
  static core::PinPrompt prompt(const char* what = "PIN");
  static bool has_terminal() noexcept;  // as standard input
  // A question that is answered by "yes" at the terminal; false where there is none.
  static bool confirmed(const std::string& question);

 private:
  core::ConfigLookup lookup() { return settings_ ? settings_ : section().lookup(); }
  std::unique_ptr<core::Router> make_router(const core::ConfigLookup& lookup,
                                            core::AuditSink* audit);

  po::variables_map options_;
  std::vector<std::string> arguments_;
  Output output_;
  std::optional<openssl_conf::Location> location_;
  std::optional<openssl_conf::ProviderSection> section_;
  core::ConfigLookup settings_;  // null: those of the section
  std::unique_ptr<core::Libcrypto> software_;
  std::unique_ptr<core::Log> log_;
  std::unique_ptr<core::AuditSink> audit_;
  bool audit_is_made_ = false;
  std::unique_ptr<core::Router> router_;
  std::unique_ptr<core::Router> router_without_login_;
  std::unique_ptr<OSSL_LIB_CTX, core::FreeWith<OSSL_LIB_CTX_free>> crypto_;
  std::vector<std::unique_ptr<OSSL_PROVIDER, core::FreeWith<OSSL_PROVIDER_unload>>> loaded_;
};

}  // namespace hwid::tool
