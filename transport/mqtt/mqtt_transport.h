#pragma once

#include <hwid/transport.h>

#include <memory>

namespace hwid::transport::mqtt_client {

// The factory of mqtts:// and mqtt://. Throws Error.
std::unique_ptr<Transport> open(const DeviceConfig& config);

}  // namespace hwid::transport::mqtt_client
