#pragma once

#include <hwid/device_config.h>
#include <hwid/transport_error.h>

#include <string>

#include "transport/credentials.h"
#include "transport/endpoint.h"

namespace hwid::transport::mqtt_client {

// What Paho C does not look at: that key and certificate belong together, without which libssl
// sends no certificate; and, where crl-file or ocsp ask for it, the server, on a short TLS
// connection of our own to the address that Paho will take. That finds a server whose certificate
// was revoked. It does not stop an attacker on the way who has its key, lets this connection pass,
// and takes the next one. Throws Error. Blocks for some seconds at most.
void check_before_connect(const DeviceConfig& config, const Endpoint& endpoint,
                          const Credentials& credentials);

// Repeats by hand a connection that Paho could not make, because Paho loses the reason. `reported`
// is what Paho said; `advice` is for a server that says nothing although all below MQTT is well.
Error explain_failure(const DeviceConfig& config, const Endpoint& endpoint,
                      const Credentials& credentials, const std::string& reported,
                      const std::string& advice);

}  // namespace hwid::transport::mqtt_client
