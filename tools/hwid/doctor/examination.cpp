#include "tools/hwid/doctor/examination.h"

#include <algorithm>

#include "provider/backends.h"
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

bool silences_all(const Finding& finding, Probe probe) {
  return finding.scope.empty() && finding.cause->silences.has(probe);
}

}  // namespace

Examination::Examination(Invocation& invocation) : invocation_(invocation) {}

void Examination::add(const char* id, Values values, const std::string& scope) {
  const Cause& cause = cause_of(id);
  if (is_silenced(cause.probe, scope)) return;
  findings_.push_back({&cause, scope, std::move(values)});
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

void examine(Examination& examination) {
  for (const Step& step : kSteps) {
    const bool hopeless = std::ranges::any_of(examination.findings(), [&](const Finding& finding) {
      return silences_all(finding, step.probe);
    });
    if (!hopeless && !examination.skips(step.probe)) step.run(examination);
  }
}

}  // namespace hwid::tool::doctor
