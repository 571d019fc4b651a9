#include "tools/hwid/broker_tls.h"

#include "transport/mqtt/connection_options.h"
#include "transport/tls_settings.h"

namespace hwid::tool {

using transport::DeviceConfig;
using transport::Endpoint;

transport::Endpoint broker_endpoint(const DeviceConfig& config) {
  constexpr std::uint16_t kHttpsPort = 443;
  if (transport::scheme_of(config.endpoint) != "https")
    return transport::mqtt_client::check_config(config);
  Endpoint endpoint = transport::parse_endpoint(config.endpoint);
  if (endpoint.port == 0) endpoint.port = kHttpsPort;
  return endpoint;
}

transport::TlsSettings broker_tls(const DeviceConfig& config, const Endpoint& endpoint,
                                  const transport::Credentials& credentials) {
  return endpoint.scheme == "https"
             ? transport::tls_settings_of(config, endpoint, credentials)
             : transport::mqtt_client::paho_settings_of(config, endpoint, credentials);
}

}  // namespace hwid::tool
