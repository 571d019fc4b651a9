#pragma once

#include <hwid/transport.h>
#include <mqtt/message.h>

namespace hwid::transport::mqtt_client {

mqtt::const_message_ptr to_paho(const Message& message);
Message from_paho(const mqtt::message& message);

}  // namespace hwid::transport::mqtt_client
