// The TLS connection to the endpoint of a device.conf, as its transport makes it.
#pragma once

#include <hwid/device_config.h>

#include "transport/credentials.h"
#include "transport/endpoint.h"
#include "transport/tls_client.h"

namespace hwid::tool {

// With its port. Throws transport::Error.
transport::Endpoint broker_endpoint(const transport::DeviceConfig& config);

// Borrows nothing but the paths of `credentials`. Throws transport::Error.
transport::TlsSettings broker_tls(const transport::DeviceConfig& config,
                                  const transport::Endpoint& endpoint,
                                  const transport::Credentials& credentials);

}  // namespace hwid::tool
