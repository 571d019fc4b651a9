#pragma once

#include <hwid/transport.h>

namespace hwid::transport::mqtt_client {

// Throws Error of kind usage: what no broker takes. It would end the connection at each try, and a
// message that is sent until it is confirmed would stand in the way of all others.
void check_message(const Message& message, const DeviceConfig& config);

}  // namespace hwid::transport::mqtt_client
