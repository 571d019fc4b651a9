#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace hwid::transport {

constexpr std::size_t kMaxMqttTextBytes = 65535;

// MQTT 5.0, 1.5.4: not too long, UTF-8, and without a zero byte.
bool is_mqtt_text(std::string_view text);

// Throw Error of kind usage. MQTT 5.0, 4.7: a name has no wildcard; in a filter `+` stands for a
// whole level and `#` for all that remain.
void check_topic_name(const std::string& topic);
void check_topic_filter(const std::string& filter);

// MQTT 5.0, 4.7.2: a wildcard at the beginning does not match a topic that begins with `$`.
// `$share/GROUP/FILTER` matches as FILTER. REQUIRES: a valid filter.
bool topic_matches(std::string_view filter, std::string_view topic);

}  // namespace hwid::transport
