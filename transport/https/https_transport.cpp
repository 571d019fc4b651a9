#include "transport/https/https_transport.h"

#include "transport/https/session.h"
#include "transport/session_transport.h"

namespace hwid::transport::https {

std::unique_ptr<Transport> open(const DeviceConfig& config) {
  return std::make_unique<SessionTransport<Session>>(config);
}

}  // namespace hwid::transport::https
