// The key of a device, as enrolment needs it.
#pragma once

#include <hwid/device_config.h>

#include <string>

#include "provider/core/libcrypto.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool::enrol {

struct DeviceKey {
  core::EvpPkey key;
  std::string reference;  // PEM that names it and holds no secret
};

// The key that `source` names: a URI, or the path of a key reference or TSS2 PEM file. A name that
// leads to a file of the state directory is followed, so that the reference does not lead to
// itself. Throws core::Error: as open_private_key, and kUnsupported for a key in software.
DeviceKey open_device_key(Invocation& invocation, const std::string& source);

// A request for `subject` ("CN=..."), signed by the key. Throws as x509::make_request.
std::string make_request(Invocation& invocation, const DeviceKey& key, const std::string& subject);

}  // namespace hwid::tool::enrol
