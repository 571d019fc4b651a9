#pragma once

#include <hwid/device_config.h>

#include <string>
#include <vector>

namespace hwid::transport {

// Our schemes, as bits of SchemeOption::honoured_by.
constexpr unsigned kMqtt = 1;
constexpr unsigned kMqtts = 2;
constexpr unsigned kWss = 4;
constexpr unsigned kHttps = 8;

// One key of device.conf: who honours it. What no scheme ever refuses (names, what only samples or
// enrolment look at) is honoured by everybody.
struct SchemeOption {
  const char* key;
  bool (*given)(const DeviceConfig& config);  // it asks for something else than the default
  unsigned honoured_by;
};

// The one table, with every key that DeviceConfig::keys() names.
const std::vector<SchemeOption>& scheme_options();

// Throws Error for the first key that is given and that `scheme` (e.g. kWss) does not honour.
// What depends on the value of a key, or on two keys, is the business of the scheme itself.
void refuse_unsupported_options(const DeviceConfig& config, unsigned scheme);

// Throws the Error of an option that cannot be honoured.
[[noreturn]] void refuse_option(const DeviceConfig& config, const std::string& key,
                                const std::string& why, const std::string& next_step);

}  // namespace hwid::transport
