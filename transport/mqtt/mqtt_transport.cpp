#include "transport/mqtt/mqtt_transport.h"

#include "transport/mqtt/session.h"
#include "transport/session_transport.h"

namespace hwid::transport::mqtt_client {

std::unique_ptr<Transport> open(const DeviceConfig& config) {
  return std::make_unique<SessionTransport<Session>>(config);
}

}  // namespace hwid::transport::mqtt_client
