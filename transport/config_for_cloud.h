#pragma once

#include <hwid/device_config.h>

#include <array>
#include <filesystem>

namespace hwid::transport {

// Keys that a cloud tells a device, and that are wrong for another cloud. Which one it was is said
// by `profile` of learned.conf.
inline constexpr std::array kKeysOfCloud = {"endpoint", "client-id", "thing-name"};

// As DeviceConfig::read(), for a device that comes to the cloud of `profile`, whatever was before:
// the configuration has that profile, and nothing that was learned under another one. Throws Error.
DeviceConfig read_config_for(const std::filesystem::path& file, Profile profile);

}  // namespace hwid::transport
