// The proof that a certificate works, before anything old is given up for it.
#pragma once

#include <hwid/device_config.h>

#include "transport/cloud/provisioning.h"

namespace hwid::tool::enrol {

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
