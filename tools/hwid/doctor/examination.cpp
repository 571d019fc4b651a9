#include "tools/hwid/doctor/examination.h"

#include <algorithm>

#include "provider/backends.h"
#include "provider/tpm2/tcti.h"
#include "tools/hwid/doctor/probes.h"

namespace hwid::tool::doctor {
namespace {

struct Step {
  Probe probe;
  void (*run)(Examination&);
};

constexpr Step kSteps[] = {{Probe::kGreengrass, probe_greengrass},
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
                           {Probe::kCertificate, probe_certificate},
                           {Probe::kTrust, probe_trust},
                           {Probe::kPolicy, probe_policy},
                           {Probe::kNetwork, probe_network}};

// Each thing that these wait for has a deadline, and there may be many.
constexpr Probes kWithDeadlines = {Probe::kProviderModule, Probe::kModule, Probe::kNetwork};
constexpr std::chrono::minutes kLongest{30};

bool silences_all(const Finding& finding, Probe probe) {
  return finding.scope.empty() && finding.cause->silences.has(probe);
}

}  // namespace

Examination::Examination(Invocation& invocation) : invocation_(invocation) {}

void Examination::add(const char* id, Values values, const std::string& scope) {
  const Cause& cause = cause_of(id);
  if (is_silenced(cause.probe, scope)) return;
  findings_.push_back({&cause, scope, std::move(values)});
  if (progress_ != nullptr) progress_->found(findings_.back());
}

void Examination::passed(const std::string& what) {
  passed_.push_back(what);
  if (progress_ != nullptr) progress_->passed(what);
}

void Examination::begins(Probe probe, const std::string& step,
                         std::chrono::seconds patience_for_it) const {
  if (progress_ != nullptr) progress_->begins(probe, step, patience_for_it);
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
  for (const Step& step : kSteps) {
    const bool hopeless = std::ranges::any_of(examination.findings(), [&](const Finding& finding) {
      return silences_all(finding, step.probe);
    });
    if (hopeless || examination.skips(step.probe)) continue;
    const bool has_own_deadlines = kWithDeadlines.has(step.probe);
    examination.begins(step.probe, title_of(step.probe),
                       has_own_deadlines ? kLongest : examination.patience);
    step.run(examination);
  }
  examination.begins(kLastProbe, "its end");
}

}  // namespace hwid::tool::doctor
