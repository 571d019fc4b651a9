// A certificate of AWS IoT Core for a request, from the question to the thing's name: so that a run
// that loses the answer, the power or its patience in between leaves no second certificate. What
// AWS said of the device, and says only once, is kept in the generation: registration.json, which
// only its owner may read.
#pragma once

#include <hwid/device_config.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tools/hwid/enrol/result.h"
#include "transport/cloud/aws_provisioning.h"
#include "transport/credential_store.h"

namespace hwid::tool::provision {

// As transport::aws::provision(). What is issued is in `begin()`, a generation's directory, before
// it is registered, and what AWS said of the device afterwards; `begun`, that of a run before, is
// gone on with, and AWS is not asked again where its answer is there. Where another one takes the
// place of that, `give_up` gets its id first: nobody knows whether AWS has it in force. Who has
// kept what comes of it calls forget_unregistered(). Throws transport::Error, core::Error.
transport::aws::Registration register_device(const transport::DeviceConfig& config,
                                             const std::string& csr,
                                             const std::optional<std::filesystem::path>& begun,
                                             const std::function<std::filesystem::path()>& begin,
                                             const std::function<void(const std::string&)>& give_up,
                                             const transport::cloud::Patience& patience);

// The claim has done its work: from here on the device is its thing. A client id that the user
// chose stays; one that is the name of the thing before follows it.
transport::Learned learned_from(const transport::DeviceConfig& config,
                                const transport::aws::Registration& registration);

// The same place has the id of a certificate that a person had made, and nothing of another one
// that was there. Durably. Throws transport::Error.
void keep_issued(const std::filesystem::path& generation, const transport::aws::Issued& issued);

// thing_name, certificate_id, certificate_arn and device_configuration, as they are printed, those
// that are known; nothing where there is no file, or it makes no sense. Throws core::Error where it
// cannot be read.
enrol::Facts read_registration(const std::filesystem::path& generation);

// Of that, certificate_id alone; empty: it is not known.
std::string certificate_id_in(const std::filesystem::path& generation);

// The same, and that of a certificate of which nobody knows whether it was registered.
std::vector<std::string> certificate_ids_in(const std::filesystem::path& generation);

// Those of them that no other generation of `store` has, which may be in use.
std::vector<std::string> certificate_ids_only_in(const std::filesystem::path& generation,
                                                 const transport::CredentialStore& store);

// Of what AWS said, thing_name alone; empty: it is not known, or a person had the certificate made.
std::string thing_name_in(const std::filesystem::path& generation);

// Nothing in the directory names that certificate any more. Throws transport::Error, core::Error.
void forget_certificate(const std::filesystem::path& generation, const std::string& certificate_id);

}  // namespace hwid::tool::provision
