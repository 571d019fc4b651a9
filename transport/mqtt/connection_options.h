#pragma once

#include <hwid/device_config.h>
#include <mqtt/connect_options.h>

#include <string>

#include "transport/credentials.h"
#include "transport/endpoint.h"
#include "transport/tls_client.h"

namespace hwid::transport::mqtt_client {

// The endpoint with its default port. Throws Error for whatever Paho, or this version of it,
// cannot honour: nothing that the user asked for is left out silently.
Endpoint check_config(const DeviceConfig& config);

// How many messages of QoS 1 and 2 the broker may have under way to us: with MQTT 5 it is told;
// with 3.1.1 it has a number of its own, which is hardly more.
int receive_maximum_of(const DeviceConfig& config) noexcept;

// mqtts:// and wss://.
bool uses_tls(const Endpoint& endpoint);

// REQUIRES: check_config() passed. The credentials' paths are opened by Paho while it connects.
// `tls` must live until the call of connect() returns: Paho C++ 1.2 copies an ssl_options with a
// pointer into the original's name of the CA directory.
mqtt::connect_options connect_options_of(const DeviceConfig& config, const Endpoint& endpoint,
                                         const Credentials& credentials, mqtt::ssl_options& tls);

// The same settings for diagnose().
TlsSettings paho_settings_of(const DeviceConfig& config, const Endpoint& endpoint,
                             const Credentials& credentials);

// For Paho: ssl://HOST:PORT, wss://HOST:PORT/PATH or tcp://HOST:PORT.
std::string server_uri_of(const Endpoint& endpoint);

}  // namespace hwid::transport::mqtt_client
