// The text of a config.yaml.
#pragma once

#include <cstdint>
#include <string>

#include "provider/core/secret.h"
#include "tools/hwid/greengrass/core_device.h"

namespace hwid::tool::greengrass {

// What the Java Nucleus is told beyond the device.
struct Classic {
  std::string version;  // of the Nucleus
  std::string library;  // of the PKCS#11 plugin
  std::uint64_t slot = 0;
  core::Secret pin;   // REQUIRES: printable ASCII
  std::string label;  // of key and certificate
  std::string token;
};
// Has the PIN, as the plugin wants it: the caller cleanses it.
std::string document_of(const CoreDevice& device, const Classic& classic);

// What Nucleus Lite is told beyond the device.
struct Lite {
  std::string private_key;  // as OSSL_STORE_open takes it, and so is
  std::string certificate;
  std::string component_user;  // USER:GROUP
};
std::string document_of(const CoreDevice& device, const Lite& lite);

}  // namespace hwid::tool::greengrass
