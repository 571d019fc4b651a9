#pragma once

#include <hwid/device_config.h>
#include <mqtt/create_options.h>

namespace hwid::transport::mqtt_client {

// Of a Paho client for this version, which then restores what our PahoStore holds.
mqtt::create_options create_options_of(MqttVersion version);

}  // namespace hwid::transport::mqtt_client
