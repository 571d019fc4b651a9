// Whose credentials are renewed, and who is asked.
#pragma once

#include <hwid/device_config.h>

#include <string>

#include "tools/hwid/invocation.h"

namespace hwid::tool::renewal {

// STATE-DIR/NAME of a device.conf.
struct Place {
  std::string state_dir;
  std::string name;
};

// Throws UsageError where it does not say `est-url` or `state-dir`.
Place place_of(const Invocation& invocation, const transport::DeviceConfig& config);

// The same for who asks nobody: whatever device.conf says besides.
Place place_kept(const Invocation& invocation, const transport::DeviceConfig& config);

// The same as place_of() for who only renews, for which AWS may be asked in the place of an EST
// server. Throws transport::Error for what device.conf has wrong then.
Place place_to_renew(const Invocation& invocation, const transport::DeviceConfig& config);

// The command that gives such a device a certificate without the one that it has.
std::string enrolment_command(const transport::DeviceConfig& config);

}  // namespace hwid::tool::renewal
