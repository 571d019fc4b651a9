// A broker's answer to CONNECT and SUBSCRIBE.
#pragma once

#include <hwid/device_config.h>

#include <string>

#include "transport/tls_client.h"

namespace hwid::tool::doctor {

enum class MqttFault {
  kNone,
  kClosed,           // instead of an answer to CONNECT
  kNoAnswer,         // in time
  kVersion,          // the broker does not speak this version
  kClientId,         // it does not take this client id
  kUnavailable,      // its MQTT service is unavailable, or busy
  kPassword,         // it wants another user name or password
  kNotAuthorized,    // not this client
  kRefused,          // for another reason
  kTaken,            // another connection uses the client id
  kSubscribeRefused  // it lets us in, and not subscribe to topics.subscribe
};

struct MqttAnswer {
  MqttFault fault = MqttFault::kNone;
  std::string text;  // what was seen: "CONNACK 5"
};

// On a connection of its own: CONNECT with the device's client id, in its session; SUBSCRIBE to
// topics.subscribe where there is one, as the device does it; DISCONNECT. Nothing that the broker
// sends is acknowledged, so no message is lost. The device's own connection, if it has one, is
// taken over, and it connects again (MQTT 3.1.1, 3.1.4). Blocks for some seconds at most.
// REQUIRES: diagnose() of these settings found nothing.
MqttAnswer exchange_mqtt(const transport::TlsSettings& settings,
                         const transport::DeviceConfig& config);

}  // namespace hwid::tool::doctor
