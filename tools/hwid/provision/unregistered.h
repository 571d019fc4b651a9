// What `hwid provision aws` keeps from CreateCertificateFromCsr to RegisterThing, so that a run
// that loses the answer, the power or its patience in between leaves no second certificate:
// STATE-DIR/NAME/gen-N/unregistered.json, which only its owner may read.
#pragma once

#include <filesystem>
#include <optional>

#include "transport/cloud/aws_provisioning.h"

namespace hwid::tool::provision {

// Whether a generation's directory has one.
bool is_unregistered(const std::filesystem::path& generation);

// Of a generation's directory; nothing where there is no file, or it makes no sense: then another
// certificate is asked for. Throws core::Error where it cannot be read.
std::optional<transport::aws::Unregistered> read_unregistered(
    const std::filesystem::path& generation);

// Durably, in one step. Throws transport::Error.
void keep_unregistered(const std::filesystem::path& generation,
                       const transport::aws::Unregistered& made);

// What is registered, or done otherwise, is no more to be registered. Throws transport::Error.
void forget_unregistered(const std::filesystem::path& generation);

}  // namespace hwid::tool::provision
