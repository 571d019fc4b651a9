#pragma once

#include <hwid/device_config.h>

#include "transport/credentials.h"
#include "transport/endpoint.h"
#include "transport/tls_client.h"

namespace hwid::transport {

// What the configuration says of a TLS connection, whatever library makes it: all but the security
// level and the minimum version, which that library may decide. Borrows nothing, but the paths of
// `credentials` are valid only as long as those. Throws Error. Threads: any.
TlsSettings tls_settings_of(const DeviceConfig& config, const Endpoint& endpoint,
                            const Credentials& credentials);

}  // namespace hwid::transport
