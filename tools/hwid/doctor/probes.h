// The probes, one function for each: they add to the examination what they find.
#pragma once

#include "tools/hwid/doctor/examination.h"

namespace hwid::tool::doctor {

// These are silent where it is not about a config.yaml.
void probe_greengrass(Examination& examination);
void probe_greengrass_slot(Examination& examination);
void probe_greengrass_objects(Examination& examination);
bool is_greengrass_config(const std::string& file);

void probe_conf_file(Examination& examination);
void probe_conf_layout(Examination& examination);
void probe_provider_module(Examination& examination);
void probe_conf_keys(Examination& examination);
void probe_conf_values(Examination& examination);
void probe_uris(Examination& examination);
void probe_modules(Examination& examination);
void probe_tokens(Examination& examination);
void probe_pins(Examination& examination);
void probe_key(Examination& examination);
void probe_use(Examination& examination);
void probe_certificate(Examination& examination);
void probe_trust(Examination& examination);
void probe_policy(Examination& examination);
void probe_network(Examination& examination);  // and TLS, and MQTT

}  // namespace hwid::tool::doctor
