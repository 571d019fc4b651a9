#pragma once

#include <hwid/transport.h>

#include <memory>

namespace hwid::transport::https {

// The factory of https://. Throws Error.
std::unique_ptr<Transport> open(const DeviceConfig& config);

}  // namespace hwid::transport::https
