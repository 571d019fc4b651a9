// Greengrass's PKCS#11 plugin, and Java's SunPKCS11 below it: what they can be told, and a token as
// they see it.
#pragma once

#include <cstdint>
#include <string>

#include "provider/core/config.h"
#include "provider/core/secret.h"

namespace hwid::tool::greengrass {

// The plugin's configuration as settings of a router: one backend of that name with that module
// and PIN, and nothing of openssl.cnf.
core::ConfigLookup plugin_settings(const std::string& backend, const std::string& library,
                                   const core::Secret& pin);

// What they cannot be told, though PKCS#11 knows no such limit. Throw kUnsupported, with a way out.
//
// SunPKCS11 takes label and PIN for bytes of Latin-1, and the plugin takes a label's semicolon for
// the end of the label.
void require_java_label(const std::string& label);
void require_java_pin(const core::Secret& pin, const std::string& token);
// SunPKCS11's configuration has no quotes that the plugin writes.
void require_java_library(const std::string& path);
void require_java_slot(std::uint64_t slot);

}  // namespace hwid::tool::greengrass
