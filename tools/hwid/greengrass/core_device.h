// The device as both of Greengrass's nuclei want it described, from device.conf and the options.
#pragma once

#include <string>

#include "tools/hwid/command.h"
#include "tools/hwid/files.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool::greengrass {

// An empty text is what was not given; only `role_alias` and `certificate` may be.
struct CoreDevice {
  std::string key;          // URI or file
  std::string certificate;  // URI or file
  std::string root_ca;      // absolute
  std::string thing;
  std::string region;
  std::string data_endpoint;         // a host's name
  std::string credentials_endpoint;  // a host's name
  std::string role_alias;
  std::string root;  // directory of Greengrass's own
};

// --config, what goes before it, --root with that default, --out and --force.
void add_core_options(po::options_description& options, const char* root);

// Throws UsageError for what is missing, transport::Error for device.conf.
CoreDevice core_device(const Invocation& invocation, const char* root);
// Throws UsageError where `value` is empty, which that option, or `key` in device.conf, gives.
void require_given(const std::string& value, const char* option, const char* key);

// A file that `hwid renew` switches: in STATE-DIR/NAME/current, which is a link. `source` may be a
// URI, which is none.
bool is_renewed(const std::string& source);
// A renewal with a new key would change one of them alone.
bool may_part(const std::string& key, const std::string& certificate);

// What --out names (default: config.yaml), and what is to become of a file that is there.
std::string config_file(const Invocation& invocation);
Existing existing(const Invocation& invocation);

}  // namespace hwid::tool::greengrass
