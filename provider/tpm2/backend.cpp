#include "provider/tpm2/backend.h"

#include "provider/tpm2/inventory.h"
#include "provider/tpm2/token.h"

namespace hwid::tpm2 {

using core::Access;
using core::BackendConfig;
using core::Error;
using core::KeyUri;
using core::Reason;
using core::Secret;

namespace {

class Backend final : public core::Backend {
 public:
  explicit Backend(const BackendConfig& section);

  const std::string& name() const noexcept override { return name_; }
  std::vector<std::shared_ptr<core::Token>> tokens(const KeyUri& uri,
                                                   std::vector<std::string>& seen) override;
  std::vector<core::TokenInfo> inventory(const Access& access) override;
  std::shared_ptr<core::Token> wrapping_token() override { return token_; }
  bool needs_base_provider() const noexcept override { return false; }
  bool owns_token(const std::string& label) const noexcept override {
    return !label_.empty() && label == label_;
  }
  void add_pins(core::PinChain& chain) const noexcept override;
  void forget() override { device_->forget(); }

 private:
  const std::string name_;
  const std::string label_;  // empty: pkcs11: URIs do not lead here
  const bool configured_;
  const std::string pin_source_;
  const std::optional<Secret> pin_;
  const std::shared_ptr<Device> device_;
  const std::shared_ptr<Token> token_;
};

std::shared_ptr<Device> make_device(const BackendConfig& section) {
  using Session = BackendConfig::Session;
  using Protect = Device::Protect;
  const Protect protect = section.session == Session::kHmac   ? Protect::kAll
                          : section.session == Session::kNone ? Protect::kNothing
                                                              : Protect::kSecrets;
  std::string label = section.token.empty() ? tcti_text(section.tcti) : section.token;
  return std::make_shared<Device>(Tpm::get(setup_of(section)), std::move(label), protect,
                                  section.verify_all);
}

Backend::Backend(const BackendConfig& section)
    : name_(section.name),
      label_(section.token),
      configured_(!section.implicit),
      pin_source_(section.pin_source),
      pin_(copy(section.pin)),
      device_(make_device(section)),
      token_(std::make_shared<Token>(section, device_)) {}

std::vector<std::shared_ptr<core::Token>> Backend::tokens(const KeyUri& uri,
                                                          std::vector<std::string>& seen) {
  const bool is_tpm = uri.scheme() == KeyUri::Scheme::kTpm2;
  if (is_tpm || (uri.token() && owns_token(*uri.token()))) return {token_};
  if (!label_.empty()) seen.push_back("token " + label_ + " (TPM)");
  return {};
}

std::vector<core::TokenInfo> Backend::inventory(const Access& access) {
  core::TokenInfo token;
  token.backend = name_;
  token.kind = "tpm2";
  token.module = tcti_text(device_->tpm().tcti());
  token.label = core::one_line(label_);
  token.configured = configured_;
  try {
    inspect(device_->tpm(), caller_of(access), token);
    token.uri = label_.empty() ? "tpm2:" : "pkcs11:token=" + core::uri_escape(label_);
  } catch (const Error& error) {
    token.problem = error.what();
  }
  std::vector<core::TokenInfo> one;
  one.push_back(std::move(token));
  return one;
}

void Backend::add_pins(core::PinChain& chain) const noexcept {
  if (pin_) chain.configured_value = &*pin_;
  if (!pin_source_.empty()) chain.configured_source = &pin_source_;
}

}  // namespace

TpmSetup setup_of(const BackendConfig& section) {
  TpmSetup setup;
  setup.tcti = section.tcti;
  setup.exclusive = section.exclusive;
  setup.in_clear = section.session == BackendConfig::Session::kNone;
  const bool has_parent = section.parent && !is_hierarchy(*section.parent);
  if (!section.parent_name.empty() && !has_parent)
    throw Error(Reason::kBadConfiguration,
                "openssl.cnf: " + section.name +
                    ".parent-name: no key to compare it with; set `parent` to the persistent "
                    "handle of the key that has this name");
  if (!section.parent_name.empty() && setup.in_clear)
    throw Error(Reason::kBadConfiguration,
                "openssl.cnf: " + section.name +
                    ".parent-name: no session is begun with that key, since session = none sends "
                    "auth values in clear; remove parent-name, or set session = auto or hmac");
  if (has_parent) setup.salt_key = {*section.parent, section.parent_name};
  return setup;
}

std::unique_ptr<core::Backend> make_backend(const BackendConfig& section) {
  return std::make_unique<Backend>(section);
}

}  // namespace hwid::tpm2
