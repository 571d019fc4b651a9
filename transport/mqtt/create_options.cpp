#include "transport/mqtt/create_options.h"

namespace hwid::transport::mqtt_client {

namespace {

// A private member, which an explicit instantiation may name.
template <auto Member>
struct Opened {
  friend MQTTAsync_createOptions& c_options(mqtt::create_options& options) {
    return options.*Member;
  }
};
MQTTAsync_createOptions& c_options(mqtt::create_options& options);
template struct Opened<&mqtt::create_options::opts_>;

}  // namespace

// Paho's C++ library asks from 1.5 for a C client of MQTT 5 in any case. That reads and sends again
// what a session of 3.1.1 left in the format of 5: messages with a byte too many before the
// payload, or none. The first version of the C structure says nothing of the MQTT version, and what
// is restored is then what its keys say.
mqtt::create_options create_options_of(MqttVersion version) {
  if (version == MqttVersion::v5) return mqtt::create_options(MQTTVERSION_5);
  mqtt::create_options options(MQTTVERSION_3_1_1);
  c_options(options).struct_version = 0;
  return options;
}

}  // namespace hwid::transport::mqtt_client
