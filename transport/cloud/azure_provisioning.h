#pragma once

#include <hwid/device_config.h>

#include <string>

#include "transport/cloud/provisioning.h"

// Azure's Device Provisioning Service (DPS) over MQTT, with X.509: "Communicate with DPS using the
// MQTT protocol" in Microsoft's documentation.
namespace hwid::transport::azure {

// Where the device belongs.
struct Assignment {
  std::string hub;  // its host name
  std::string device_id;
  std::string substatus;  // initialAssignment, deviceDataMigrated, ...; empty: not told
};

// What `config` says to DPS.
struct Registrant {
  std::string endpoint;         // dps-endpoint, else the global one of Azure's public cloud
  std::string id_scope;         // id-scope
  std::string registration_id;  // registration-id, else the certificate's common name
};

// Throws Error of kind environment for what is missing or wrong: no id-scope, an id that the
// service does not allow, or one that is not the certificate's common name, which the service
// refuses.
Registrant registrant_of(const DeviceConfig& config);

// Registers the device with cert and key of `config`, and asks until the service has assigned it a
// hub, as often as the service wants to be asked. `payload`: JSON for its allocation, or empty.
// Where the connection breaks, or no answer comes, all begins again: a device may register any
// number of times.
// Throws Error: of kind refused for a no, a failed or disabled assignment, or an answer that makes
// no sense. Blocks for patience.total and one answer at most. Threads: any.
Assignment register_device(const DeviceConfig& config, const std::string& payload,
                           const cloud::Patience& patience = {});

}  // namespace hwid::transport::azure
