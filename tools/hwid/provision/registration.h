// A certificate of AWS IoT Core for a request, from the question to the thing's name: so that a run
// that loses the answer, the power or its patience in between leaves no second certificate.
#pragma once

#include <hwid/device_config.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "transport/cloud/aws_provisioning.h"
#include "transport/credential_store.h"

namespace hwid::tool::provision {

// As transport::aws::provision(). What is issued is in `begin()`, a generation's directory, before
// it is registered; `begun`, that of a run before, is gone on with. Who has kept what comes of it
// calls forget_unregistered(). Throws transport::Error, core::Error.
transport::aws::Registration register_device(const transport::DeviceConfig& config,
                                             const std::string& csr,
                                             const std::optional<std::filesystem::path>& begun,
                                             const std::function<std::filesystem::path()>& begin,
                                             const transport::cloud::Patience& patience);

// The claim has done its work: from here on the device is its thing. A client id that the user
// chose stays; one that is the name of the thing before follows it.
transport::Learned learned_from(const transport::DeviceConfig& config,
                                const transport::aws::Registration& registration);

}  // namespace hwid::tool::provision
