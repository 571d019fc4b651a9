// The proof that a certificate works, before anything old is given up for it.
#pragma once

#include <hwid/device_config.h>

#include "tools/hwid/doctor/mqtt_exchange.h"
#include "transport/cloud/provisioning.h"
#include "transport/credential_store.h"
#include "transport/tls_diagnosis.h"

namespace hwid::tool::enrol {

// `config` with the pair of a generation.
transport::DeviceConfig with_pair(transport::DeviceConfig config,
                                  const transport::CredentialStore::Generation& generation);

// TLS to the endpoint as `config` says, with the server's opinion of our certificate. Nothing is
// sent above it: a running client's session is not taken over. Throws transport::Error for what
// `config` has wrong. Blocks for some seconds.
// REQUIRES: prepare_default_context(), and an endpoint of a scheme with TLS.
transport::Diagnosis try_tls(const transport::DeviceConfig& config);

// What the broker answers to CONNECT, as prove_connection() sends it. REQUIRES: an endpoint of the
// scheme mqtts, for which try_tls() found nothing.
doctor::MqttAnswer try_mqtt(const transport::DeviceConfig& config);

// Connects as `config` says and leaves again: TLS with the server's opinion of our certificate, and
// over mqtts:// CONNECT in the session of the client id, whose messages and subscriptions stay as
// they are. A program that is connected with that client id is put off for a moment, and connects
// again (MQTT 3.1.1, 3.1.4). Throws transport::Error: of kind refused where the other side does not
// want this certificate or client. Blocks for some seconds.
// REQUIRES: prepare_default_context().
void prove_connection(const transport::DeviceConfig& config);

// The same until it succeeds, or the patience ends: a certificate that was just made is not known
// everywhere at once.
void prove_new_certificate(const transport::DeviceConfig& config,
                           const transport::cloud::Patience& patience);

}  // namespace hwid::tool::enrol
