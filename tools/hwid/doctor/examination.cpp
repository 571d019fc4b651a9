#include "tools/hwid/doctor/examination.h"

#include <algorithm>

#include "provider/backends.h"
#include "provider/tpm2/tcti.h"
#include "tools/hwid/doctor/probes.h"
#include "tools/hwid/meant_tokens.h"

namespace hwid::tool::doctor {
namespace {

struct Look {
  Probe probe;
  void (*run)(Examination&);
};

constexpr Look kSteps[] = {{Probe::kGreengrass, probe_greengrass},
                           {Probe::kConfFile, probe_conf_file},
                           {Probe::kConfLayout, probe_conf_layout},
                           {Probe::kProviderModule, probe_provider_module},
                           {Probe::kConfKeys, probe_conf_keys},
                           {Probe::kConfValues, probe_conf_values},
                           {Probe::kUris, probe_uris},
                           {Probe::kModule, probe_modules},
                           {Probe::kToken, probe_tokens},
                           {Probe::kToken, probe_greengrass_slot},
                           {Probe::kPin, probe_pins},
                           {Probe::kKey, probe_key},
                           {Probe::kUse, probe_use},
                           {Probe::kCertificate, probe_greengrass_objects},
                           {Probe::kCertificate, probe_certificate},
                           {Probe::kTrust, probe_trust},
                           {Probe::kPolicy, probe_policy},
                           {Probe::kNetwork, probe_network}};

constexpr std::chrono::minutes kForPerson{10};  // to find the PIN and type it
// Name servers, proxies and brokers have deadlines of their own; they are many, and not all at
// once.
constexpr std::chrono::minutes kForNetwork{10};

bool silences_all(const Finding& finding, Probe probe) {
  return finding.scope.empty() && finding.cause->silences.has(probe);
}

}  // namespace

Examination::Examination(Invocation& invocation) : invocation_(invocation) {}

void Examination::add(const char* id, Values values, const std::string& scope) {
  if (!is_silenced(cause_of(id).probe, scope)) add_stop(id, std::move(values), scope);
}

void Examination::add_stop(const char* id, Values values, const std::string& scope) {
  findings_.push_back({&cause_of(id), scope, std::move(values)});
  if (progress_ != nullptr) progress_->found(findings_.back());
}

void Examination::passed(const std::string& what) {
  passed_.push_back(what);
  if (progress_ != nullptr) progress_->passed(what);
}

void Examination::begins(const Step& step) const {
  if (progress_ != nullptr) progress_->begins(step);
}

void Examination::begins_with_key(const std::string& what, std::chrono::seconds more) {
  const auto for_key =
      asks_for_pin() ? std::max<std::chrono::seconds>(kForPerson, patience) : patience;
  begins({what, for_key + more, true, key_scope});
}

// At the terminal, or at the token's own pad.
bool Examination::asks_for_pin() {
  if (!key_uri) return false;
  const auto& uri = *key_uri;
  const bool has_pin = uri.pin_value() || uri.pin_source() ||
                       std::ranges::any_of(config().backends, [&](const auto& backend) {
                         return concerns(backend) && (backend.pin || !backend.pin_source.empty());
                       });
  const auto tokens = tokens_meant(inventory(), uri);
  const bool has_pad = std::ranges::any_of(
      tokens, [](const core::TokenInfo& token) { return token.protected_authentication_path; });
  return has_pad || (!has_pin && Invocation::has_terminal());
}

bool Examination::is_silenced(Probe probe, const std::string& scope) const {
  return std::ranges::any_of(findings_, [&](const Finding& finding) {
    const bool concerns = finding.scope.empty() || scope.empty() || finding.scope == scope;
    return concerns && finding.cause->silences.has(probe);
  });
}

const std::string& Examination::conf_file() { return invocation_.location().path; }

Values Examination::conf_values() {
  return {{"file", invocation_.location().path}, {"rule", invocation_.location().why}};
}

std::vector<core::TokenInfo> Examination::tokens_of(const std::string& backend) {
  const core::Access access{invocation_.software(), invocation_.log(), nullptr, {}};
  std::vector<core::TokenInfo> all;
  for (const auto& each :
       make_backends(config(), invocation_.log())) {  // a section may have several
    if (each->name() != backend) continue;
    for (core::TokenInfo& token : each->inventory(access)) all.push_back(std::move(token));
  }
  return all;
}

const std::vector<core::TokenInfo>& Examination::inventory() {
  if (inventory_) return *inventory_;
  std::vector<core::TokenInfo> all;
  for (const core::BackendConfig& section : config().backends) {
    if (!concerns(section)) continue;
    for (core::TokenInfo& token : tokens_of(section.name)) all.push_back(std::move(token));
  }
  inventory_ = core::merged(std::move(all));
  return *inventory_;
}

std::string device_text(const core::BackendConfig& backend) {
  if (backend.type == "tpm2") return tpm2::tcti_text(backend.tcti);
  return backend.module.empty() ? "p11-kit's modules" : backend.module;
}

void examine(Examination& examination) {
  for (const Look& step : kSteps) {
    const bool hopeless = std::ranges::any_of(examination.findings(), [&](const Finding& finding) {
      return silences_all(finding, step.probe);
    });
    if (hopeless || examination.skips(step.probe)) continue;
    examination.begins({title_of(step.probe), kForNetwork});
    step.run(examination);
  }
  examination.begins({"its end", examination.patience});
}

}  // namespace hwid::tool::doctor
