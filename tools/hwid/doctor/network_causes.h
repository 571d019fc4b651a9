// Rows of the table for what the transport library and a broker say.
#pragma once

#include "tools/hwid/doctor/mqtt_exchange.h"
#include "transport/tls_diagnosis.h"

namespace hwid::tool::doctor {

const char* id_of_diagnosis(transport::Cause cause) noexcept;
const char* id_of_fault(MqttFault fault) noexcept;

}  // namespace hwid::tool::doctor
