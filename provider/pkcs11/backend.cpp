#include "provider/pkcs11/backend.h"

#include <p11-kit/uri.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <optional>

#include "provider/pkcs11/configured_modules.h"
#include "provider/pkcs11/inventory.h"
#include "provider/pkcs11/token.h"

namespace hwid::pkcs11 {

using core::BackendConfig;
using core::Error;
using core::KeyUri;
using core::Reason;

namespace {

using Modules = std::vector<std::shared_ptr<Module>>;

// RFC 7512, 2.3: the module's name without "lib" and the suffix.
std::string module_name(const std::string& path) {
  std::string name = std::filesystem::path(path).stem().string();
  return name.starts_with("lib") ? name.substr(3) : name;
}

bool same_file(const std::string& a, const std::string& b) {
  std::error_code none;
  return a == b || std::filesystem::equivalent(a, b, none);
}

bool wants_module_info(const KeyUri& uri) {
  const CK_INFO* const info = p11_kit_uri_get_module_info(uri.pkcs11());
  return info->libraryDescription[0] != 0 || info->manufacturerID[0] != 0 ||
         info->libraryVersion.major != 0xff || info->libraryVersion.minor != 0xff;
}

bool wants_slot_info(const KeyUri& uri) {
  const CK_SLOT_INFO* const info = p11_kit_uri_get_slot_info(uri.pkcs11());
  return info->slotDescription[0] != 0 || info->manufacturerID[0] != 0;
}

bool wants_slot(const KeyUri& uri) {
  return wants_slot_info(uri) ||
         p11_kit_uri_get_slot_id(uri.pkcs11()) != CK_UNAVAILABLE_INFORMATION;
}

// PKCS#11 v2.40, 3.2: the texts are padded with blanks. Some modules end them with a NUL.
bool matches_token(const KeyUri& uri, CK_TOKEN_INFO info) {
  if (p11_kit_uri_match_token_info(uri.pkcs11(), &info) == 1) return true;
  const auto pad = [](auto& field) {
    std::fill(std::find(std::begin(field), std::end(field), '\0'), std::end(field), ' ');
  };
  pad(info.label);
  pad(info.manufacturerID);
  pad(info.model);
  pad(info.serialNumber);
  return p11_kit_uri_match_token_info(uri.pkcs11(), &info) == 1;
}

std::string slot_text(CK_SLOT_ID slot) { return "slot " + std::to_string(slot); }

class Backend final : public core::Backend {
 public:
  Backend(const BackendConfig& section, bool may_load_others, const core::Log& log);
  ~Backend() override { delete modules_.load(); }

  const std::string& name() const noexcept override { return name_; }
  bool owns_token(const std::string& label) const noexcept override {
    return !token_.empty() && token_ == label;
  }
  void add_pins(core::PinChain& chain) const noexcept override;
  std::vector<std::shared_ptr<core::Token>> tokens(const KeyUri& uri,
                                                   std::vector<std::string>& seen) override;
  std::vector<std::shared_ptr<core::Token>> namesakes(
      const KeyUri& uri, const std::vector<std::shared_ptr<core::Token>>& known) override;
  std::vector<core::TokenInfo> inventory(const core::Access& access) override;

 private:
  using Tokens = std::vector<std::shared_ptr<Token>>;
  // Of the tokens that have the label in the URI: one will do, or all are wanted.
  enum class Reach { kOneOfLabel, kAll };
  TokenPolicy policy(const BackendConfig& section) const;
  core::Standing standing(const std::shared_ptr<Module>& module, CK_SLOT_ID slot) const noexcept;
  const Modules& modules();
  Tokens look_for(const KeyUri& uri, Reach reach, std::vector<std::string>& seen);
  bool admits_module(Module& module, const KeyUri& uri, std::vector<std::string>& seen) const;
  void pass_over(std::string what, std::vector<std::string>& seen) const;
  bool add_known(Module& module, const KeyUri& uri, Tokens& out) const;
  void add_from_slots(const std::shared_ptr<Module>& module, const KeyUri& uri, Reach reach,
                      Tokens& out, std::vector<std::string>& seen) const;
  void look_into(const std::shared_ptr<Module>& module, const KeyUri& uri, Reach reach, Tokens& out,
                 std::vector<std::string>& seen) const;

  const std::string name_;
  const std::string token_;
  const std::optional<unsigned long> default_slot_;
  const ModuleSetup setup_;
  const std::string pin_source_;
  const std::optional<core::Secret> pin_;
  const core::Log& log_;
  const TokenPolicy policy_;                      // of what stands above
  const bool may_load_others_;                    // modules that a URI names by module-path
  std::atomic<const Modules*> modules_{nullptr};  // published once, at first use
};

TokenPolicy Backend::policy(const BackendConfig& section) const {
  constexpr std::size_t kDefaultSessions = 16;
  core::PinChain own;
  add_pins(own);
  own.log = &log_;
  return {
      section.login,           section.cache_pin,
      section.allow_final_try, section.max_sessions != 0 ? section.max_sessions : kDefaultSessions,
      section.cache_keys,      own};
}

Backend::Backend(const BackendConfig& section, bool may_load_others, const core::Log& log)
    : name_(section.name),
      token_(section.token),
      default_slot_(section.default_slot),
      setup_{section.module, section.init_args, section.environment, nullptr},
      pin_source_(section.pin_source),
      pin_(section.pin ? std::optional(section.pin->clone()) : std::nullopt),
      log_(log),
      policy_(policy(section)),
      may_load_others_(may_load_others) {}

void Backend::add_pins(core::PinChain& chain) const noexcept {
  if (pin_ && chain.configured_value == nullptr) chain.configured_value = &*pin_;
  if (!pin_source_.empty() && chain.configured_source == nullptr)
    chain.configured_source = &pin_source_;
}

// A slot's number is its module's own: one that a URI names has another slot of that number.
core::Standing Backend::standing(const std::shared_ptr<Module>& module,
                                 CK_SLOT_ID slot) const noexcept {
  if (!default_slot_) return core::Standing::kEqual;
  const Modules& configured = *modules_.load(std::memory_order_acquire);
  const bool is_ours = std::ranges::find(configured, module) != configured.end();
  return is_ours && *default_slot_ == slot ? core::Standing::kMeant : core::Standing::kOther;
}

const Modules& Backend::modules() {
  if (const Modules* const made = modules_.load(std::memory_order_acquire)) return *made;
  auto fresh = std::make_unique<const Modules>(
      setup_.path.empty() ? configured_modules(setup_, log_) : Modules{Module::get(setup_)});
  const Modules* seen = nullptr;
  if (modules_.compare_exchange_strong(seen, fresh.get(), std::memory_order_acq_rel))
    return *fresh.release();
  return *seen;  // another thread was first
}

std::vector<std::shared_ptr<core::Token>> Backend::tokens(const KeyUri& uri,
                                                          std::vector<std::string>& seen) {
  // Which token of a label the default slot has is known where all were looked at.
  Tokens found =
      look_for(uri, uri.token() && !default_slot_ ? Reach::kOneOfLabel : Reach::kAll, seen);
  std::stable_partition(found.begin(), found.end(), [](const std::shared_ptr<Token>& token) {
    return token->standing() == core::Standing::kMeant;
  });
  for (const std::shared_ptr<Token>& token : found) {
    const auto of_this_label = [&](const auto& other) { return other->label() == token->label(); };
    if (uri.names_one_token() || std::ranges::count_if(found, of_this_label) > 1)
      token->name_serial();
  }
  if (uri.token() && !found.empty()) found.resize(1);  // namesakes() has the others
  return {found.begin(), found.end()};
}

std::vector<std::shared_ptr<core::Token>> Backend::namesakes(
    const KeyUri& uri, const std::vector<std::shared_ptr<core::Token>>& known) {
  if (known.empty() || !uri.token() || uri.names_one_token()) return {};
  std::vector<std::string> seen;
  std::vector<std::shared_ptr<core::Token>> fresh;
  // A token that two modules show is one: label and serial number identify it.
  for (const std::shared_ptr<Token>& token : look_for(uri, Reach::kAll, seen)) {
    const auto is_same = [&](const auto& other) { return other->serial() == token->serial(); };
    if (std::ranges::any_of(known, is_same) || std::ranges::any_of(fresh, is_same)) continue;
    token->name_serial();
    fresh.push_back(token);
  }
  return fresh;
}

Backend::Tokens Backend::look_for(const KeyUri& uri, Reach reach, std::vector<std::string>& seen) {
  Tokens found;
  if (uri.scheme() != KeyUri::Scheme::kPkcs11) return found;
  if (!token_.empty() && uri.token() && *uri.token() != token_) {
    pass_over("backend " + name_ + " serves token " + token_ + " only", seen);
    return found;
  }
  Modules candidates = modules();
  if (uri.module_path() && may_load_others_) {
    ModuleSetup other = setup_;
    other.path = *uri.module_path();
    const std::shared_ptr<Module> module = Module::get(other);
    if (std::ranges::find(candidates, module) == candidates.end()) candidates.push_back(module);
  }
  const bool one = candidates.size() == 1;
  for (const std::shared_ptr<Module>& module : candidates) {
    try {
      if (admits_module(*module, uri, seen)) look_into(module, uri, reach, found, seen);
    } catch (const Error& error) {
      // One of many modules may have no reader, or no daemon.
      if (one || error.reason == Reason::kExiting) throw;
      HWID_LOG(log_, kInfo, std::string(error.what()));
      seen.push_back(error.what());
    }
    if (!found.empty() && reach == Reach::kOneOfLabel) break;
  }
  return found;
}

// For the message where nothing matches, and for the log at once.
void Backend::pass_over(std::string what, std::vector<std::string>& seen) const {
  HWID_LOG(log_, kDebug, "backend " + name_ + ": passed over: " + what);
  seen.push_back(std::move(what));
}

bool Backend::admits_module(Module& module, const KeyUri& uri,
                            std::vector<std::string>& seen) const {
  if (uri.module_path() && !same_file(module.path(), *uri.module_path())) {
    pass_over(
        "module " + module.path() +
            " is not the URI's module-path (others are loaded with allow-uri-module-path = yes)",
        seen);
    return false;
  }
  if (uri.module_name() && module_name(module.path()) != *uri.module_name()) {
    pass_over("module " + module.path() + " is not the URI's module-name", seen);
    return false;
  }
  if (!wants_module_info(uri)) return true;
  const CK_INFO info = module.info();
  if (p11_kit_uri_match_module_info(uri.pkcs11(), &info) == 1) return true;
  pass_over("module " + module.path() + " is " + padded_text(info.libraryDescription), seen);
  return false;
}

// Runs `look`, and once more where the module had lost its initialization or its connection.
// REQUIRES: this thread has no Use.
template <typename Look>
void look_twice(Module& module, Look&& look) {
  const std::uint64_t generation = module.use().generation();
  try {
    look();
  } catch (const TokenError& error) {
    if (error.rv == CKR_CRYPTOKI_NOT_INITIALIZED)
      module.forget_initialization(generation);
    else if (!error.module_is_lost || !module.start_anew(generation))
      throw;
    look();
  }
}

void Backend::look_into(const std::shared_ptr<Module>& module, const KeyUri& uri, Reach reach,
                        Tokens& out, std::vector<std::string>& seen) const {
  if (reach == Reach::kOneOfLabel && add_known(*module, uri, out)) return;
  const std::size_t before = out.size();
  look_twice(*module, [&] {
    out.resize(before);
    add_from_slots(module, uri, reach, out, seen);
  });
}

std::vector<core::TokenInfo> Backend::inventory(const core::Access&) {
  std::vector<core::TokenInfo> all;
  for (const std::shared_ptr<Module>& module : modules()) {
    try {
      std::vector<core::TokenInfo> tokens;
      look_twice(*module, [&] { tokens = inspect_slots(*module, name_, token_); });
      std::move(tokens.begin(), tokens.end(), std::back_inserter(all));
    } catch (const Error& error) {
      all.push_back(unusable_module(module->path(), name_, error.what()));
    }
  }
  return all;
}

// A token that was seen in this process is not looked for again: sessions find out if it is gone.
bool Backend::add_known(Module& module, const KeyUri& uri, Tokens& out) const {
  if (wants_slot(uri) || default_slot_) return false;  // which slot is not asked here
  for (const std::shared_ptr<SharedToken>& token : module.known_tokens()) {
    if (token->label() != *uri.token() || !matches_token(uri, token->info())) continue;
    if (!token->is_here()) return false;  // not its namesake instead: the slots tell who is first
    out.push_back(std::make_shared<Token>(token, policy_, core::Standing::kEqual, nullptr));
    return true;
  }
  return false;
}

void Backend::add_from_slots(const std::shared_ptr<Module>& module, const KeyUri& uri, Reach reach,
                             Tokens& out, std::vector<std::string>& seen) const {
  const Module::Use use = module->use();
  const Place place{{}, {}, module->path()};
  const CK_SLOT_ID wanted_slot = p11_kit_uri_get_slot_id(uri.pkcs11());
  const std::vector<CK_SLOT_ID> slots = slots_with_token(use, place);
  HWID_LOG(log_, kDebug,
           "backend " + name_ + ": module " + module->path() + ", PKCS#11 " +
               std::to_string(use->version.major) + "." + std::to_string(use->version.minor) +
               ", slots with a token: " + std::to_string(slots.size()));
  for (const CK_SLOT_ID slot : slots) {
    if (wanted_slot != CK_UNAVAILABLE_INFORMATION && wanted_slot != slot) continue;
    if (wants_slot_info(uri)) {
      CK_SLOT_INFO info{};
      if (use->C_GetSlotInfo(slot, &info) != CKR_OK ||
          p11_kit_uri_match_slot_info(uri.pkcs11(), &info) != 1)
        continue;
    }
    CK_TOKEN_INFO info{};
    const CK_RV rv = token_info(use, slot, info);
    if (rv == CKR_CRYPTOKI_NOT_INITIALIZED) raise(rv, "C_GetTokenInfo", place);
    if (rv != CKR_OK) {
      pass_over(slot_text(slot) + ": " + code_name(rv), seen);
      continue;
    }
    if ((info.flags & CKF_TOKEN_INITIALIZED) == 0) {
      pass_over(slot_text(slot) + ": token not initialized", seen);
      continue;
    }
    const std::string label = padded_text(info.label);
    if ((!token_.empty() && label != token_) || !matches_token(uri, info)) {
      pass_over(slot_text(slot) + ": token " + label, seen);
      continue;
    }
    HWID_LOG(log_, kDebug,
             "backend " + name_ + ": " + slot_text(slot) + ": token " + label + ", taken");
    TokenPolicy policy = policy_;
    const core::Standing meant = standing(module, slot);
    if (meant == core::Standing::kOther) policy.configured = {};
    out.push_back(
        std::make_shared<Token>(SharedToken::get(module, slot, info), policy, meant, &info));
    if (reach == Reach::kOneOfLabel) return;
  }
}

// A module-path that is not configured is loaded by one backend, where that is allowed at all.
bool is_first_of_its_kind(const BackendConfig& section, const core::Config& config) {
  const auto first = std::ranges::find(config.backends, section.type,
                                       [](const auto& other) { return other.type; });
  return first == config.backends.end() || first->name == section.name;
}

}  // namespace

std::vector<std::unique_ptr<core::Backend>> make_backends(const BackendConfig& section,
                                                          const core::Config& config,
                                                          const core::Log& log) {
  const bool may_load_others =
      config.allow_uri_module_path && is_first_of_its_kind(section, config);
  std::vector<std::unique_ptr<core::Backend>> backends;
  backends.push_back(std::make_unique<Backend>(section, may_load_others, log));
  return backends;
}

}  // namespace hwid::pkcs11
