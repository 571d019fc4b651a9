// hwid provision azure: by Azure's Device Provisioning Service, with a certificate that is there.
#include <hwid/transport_error.h>

#include "provider/core/error.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/default_context.h"
#include "tools/hwid/enrol/enrolment.h"
#include "tools/hwid/enrol/proof.h"
#include "tools/hwid/enrol/result.h"
#include "tools/hwid/files.h"
#include "tools/hwid/key_source.h"
#include "transport/cloud/azure_provisioning.h"

namespace hwid::tool {
namespace {

using transport::DeviceConfig;
using transport::Learned;
namespace cloud = transport::azure;

void add_options(po::options_description& options) {
  enrol::add_config_options(options);
  options.add_options()("payload", po::value<std::string>()->value_name("FILE"),
                        "JSON for the allocation of the enrolment; - is standard input");
}

std::string payload_of(const Invocation& invocation) {
  if (!invocation.has("payload")) return "";
  const std::string file = invocation.text("payload");
  std::string text = read_file(file);
  if (!Json::accept(text))
    throw core::Error(core::Reason::kBadParameter, "file=" + file + ": it is no JSON; correct it");
  return text;
}

// The hub that was assigned, and the device there.
Learned learned_from(const cloud::Assignment& assignment) {
  return {{"endpoint", "mqtts://" + assignment.hub},
          {"client-id", assignment.device_id},
          {"profile", "azure"}};
}

void prove(const DeviceConfig& config, const Learned& learned,
           const transport::cloud::Patience& patience) {
  DeviceConfig trial = config;
  for (const auto& [key, value] : learned) trial.set(key, value);
  enrol::prove_new_certificate(trial, patience);
}

Exit run(Invocation& invocation) {
  const auto patience = enrol::patience_of(invocation);
  const std::string payload = payload_of(invocation);
  const DeviceConfig config = enrol::read_device_conf(invocation, transport::Profile::azure);
  const std::string state_dir = enrol::state_dir_of(config);
  // Logs in, asking for a PIN where one is needed; as long as it is open, so is the token.
  const core::EvpPkey key = open_private_key(invocation, enrol::key_of(invocation, config));
  (void)prepare_default_context(invocation);
  const cloud::Registrant who = cloud::registrant_of(config);
  const enrol::AuditedEnrolment audited(invocation, "azure", who.endpoint, who.registration_id);
  cloud::Assignment assignment;
  audited.run([&] {
    assignment = cloud::register_device(config, payload, patience);
    const Learned learned = learned_from(assignment);
    prove(config, learned, patience);
    transport::update_learned(state_dir, learned);
  });
  enrol::Facts facts = {{"hub", assignment.hub},
                        {"device_id", assignment.device_id},
                        {"registration_id", who.registration_id}};
  if (!assignment.substatus.empty()) facts.emplace_back("substatus", assignment.substatus);
  facts.emplace_back("learned", state_dir + "/learned.conf");
  enrol::print(invocation, "Assigned hub", facts);
  return kGood;
}

}  // namespace

const Command kProvisionAzure = {
    "provision azure",
    "--config FILE [OPTION...]",
    "the hub of a device, from Azure's provisioning service",
    "Registers with cert and key of device.conf at Azure's Device Provisioning Service, waits "
    "until "
    "a\n"
    "hub is assigned, connects to it, and writes it to STATE-DIR/learned.conf, which is read "
    "after\n"
    "device.conf. The registration id is the certificate's common name. It may be run at any time: "
    "a\n"
    "device that was moved to another hub learns that.",
    "  hwid provision azure --config /etc/hwid/device.conf\n"
    "  hwid provision azure --config /etc/hwid/device.conf --payload site.json --json\n",
    0,
    0,
    add_options,
    run};

}  // namespace hwid::tool
