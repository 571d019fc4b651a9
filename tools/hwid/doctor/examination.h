// One run of `hwid doctor`: what it looks at, and what it has found so far.
#pragma once

#include <hwid/device_config.h>
#include <openssl/conf.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "provider/core/uri.h"
#include "tools/hwid/doctor/cause.h"
#include "tools/hwid/greengrass/config.h"
#include "tools/hwid/invocation.h"
#include "tools/openssl_conf/conf.h"

namespace hwid::tool::doctor {

struct Finding {
  const Cause* cause;
  std::string scope;  // the backend that it is about; empty: all
  Values values;

  std::string text() const { return filled(cause->cause, values); }
  std::string evidence() const { return filled(cause->evidence, values); }
  std::string fix() const { return filled(cause->fix, values); }
};

// What is being done, until the next begins.
struct Step {
  std::string what;                  // "logging in to token dev"
  std::chrono::seconds patience{0};  // what takes longer counts as hanging; 0: a user is asked
  bool is_at_device = false;         // a token, its module or a TPM is asked
  std::string scope{};               // as Finding's
};

// Is told how far an examination is.
class Progress {
 public:
  virtual ~Progress() = default;
  virtual void begins(const Step& step) = 0;
  virtual void found(const Finding& finding) = 0;
  virtual void passed(const std::string& what) = 0;
};

// What does not go through any backend has this for a scope: no backend's fault silences it.
inline constexpr char kNoBackend[] = "-";

// The PKCS#11 plugin of Greengrass's config.yaml, as a backend.
inline constexpr char kGreengrassBackend[] = "greengrass";

class Examination {
 public:
  explicit Examination(Invocation& invocation);

  Invocation& invocation() noexcept { return invocation_; }

  // Adds what was found, unless an earlier finding says why.
  void add(const char* id, Values values, const std::string& scope = "");
  // That the examination came to no end at that backend is told in any case.
  void add_stop(const char* id, Values values, const std::string& scope);
  // An earlier finding makes that probe fail. Without a scope the one of any backend does.
  bool is_silenced(Probe probe, const std::string& scope = "") const;
  const std::vector<Finding>& findings() const noexcept { return findings_; }

  // What was looked at and is in order, for people: "token dev".
  void passed(const std::string& what);
  const std::vector<std::string>& passed() const noexcept { return passed_; }

  // Null: nobody. REQUIRES: it is there until another is named.
  void report_to(Progress* progress) noexcept { progress_ = progress; }
  void begins(const Step& step) const;
  // Something of the token or TPM of that backend, within `patience`.
  void begins_at_device(const std::string& what, const std::string& scope) const {
    begins({what, patience, true, scope});
  }
  // The same in a process of its own, which `patience` ends before this does.
  void begins_in_child(const std::string& what, const std::string& scope) const {
    begins({what, 2 * patience, true, scope});
  }
  // The same for the key that was named, where a user may have to type a PIN for it.
  // `more`: what others have to do in it, within their own deadlines.
  void begins_with_key(const std::string& what, std::chrono::seconds more = {});

  // openssl.cnf as it is. REQUIRES: kConfFile is not silenced.
  const CONF* conf() const noexcept { return conf_.get(); }
  void set_conf(openssl_conf::Conf conf) noexcept { conf_ = std::move(conf); }
  // "/etc/ssl/openssl.cnf (OPENSSL_CONF)", and the values {file} and {rule} of the texts.
  const std::string& conf_file();
  Values conf_values();

  // What the options and device.conf name; empty: nothing does.
  std::string key;
  std::string certificate;
  std::string authority;  // ca-file
  std::string endpoint;
  std::string policy;  // the file of --policy
  // Greengrass's config.yaml, for messages; empty: it is not about one.
  std::string greengrass_file;
  std::optional<greengrass::Config> greengrass;  // what is in it; unset: not read yet
  std::optional<transport::DeviceConfig> device;
  std::chrono::seconds patience{60};  // for what a token or TPM does in one step
  // What `key` leads to through names and reference files, once that is known. Null: no key was
  // named, or it is an ordinary file.
  std::optional<core::KeyUri> key_uri;
  core::Router::Origin key_origin = core::Router::Origin::kProgram;
  std::string key_scope;  // the backend that serves it; empty: any may

  // The provider's configuration. REQUIRES: kConfValues is not silenced.
  const core::Config& config() { return invocation_.router_without_login().config(); }
  // False for a backend that the key that was named has nothing to do with, and for one that
  // nobody configured.
  bool concerns(const core::BackendConfig& backend) const {
    return key_scope.empty() ? !backend.implicit : key_scope == backend.name;
  }
  std::optional<unsigned long> slot_of_config;  // of Greengrass's config.yaml

  // What is not on this way: it is not looked at.
  void skip(Probes probes) noexcept { skipped_ = probes; }
  bool skips(Probe probe) const noexcept { return skipped_.has(probe); }

  // The tokens of that backend, asked now. No login.
  std::vector<core::TokenInfo> tokens_of(const std::string& backend);
  // Every token of the backends that it concerns, asked once. No login.
  const std::vector<core::TokenInfo>& inventory();
  // The key as OpenSSL has it, or its public half alone; null before it was opened.
  EVP_PKEY* private_key() const noexcept { return private_key_.get(); }
  void set_private_key(core::EvpPkey key) noexcept { private_key_ = std::move(key); }

 private:
  bool asks_for_pin();

  Invocation& invocation_;
  std::vector<Finding> findings_;
  std::vector<std::string> passed_;
  openssl_conf::Conf conf_;
  std::optional<std::vector<core::TokenInfo>> inventory_;
  core::EvpPkey private_key_;
  Probes skipped_;
  Progress* progress_ = nullptr;
};

// The module or TPM that it is about, for messages.
std::string device_text(const core::BackendConfig& backend);

// Looks at everything, in the order of Probe.
void examine(Examination& examination);

}  // namespace hwid::tool::doctor
