// OpenSSL's own reading of its configuration files.
#pragma once

#include <openssl/conf.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "provider/core/libcrypto.h"

namespace hwid::openssl_conf {

using Conf = std::unique_ptr<CONF, core::FreeWith<NCONF_free>>;

// Throw kBadConfiguration, naming the file and the line. `path` of a text is for the message.
Conf load_file(const std::string& path);
Conf load_text(std::string_view text, const std::string& path);

// Empty where there is none. A null section is the one before all others.
std::string text_of(const CONF* conf, const char* section, const char* key);
// A section's keys and values; a null pointer where the file has no such section.
const STACK_OF(CONF_VALUE) * section_of(const CONF* conf, const std::string& name);
std::vector<std::string> section_names(const CONF* conf);

template <typename Use>
void for_each(const STACK_OF(CONF_VALUE) * values, Use use) {
  for (int at = 0; at < sk_CONF_VALUE_num(values); ++at) {
    const CONF_VALUE* const entry = sk_CONF_VALUE_value(values, at);
    use(std::string(entry->name), std::string(entry->value != nullptr ? entry->value : ""));
  }
}

// OpenSSL's names may have a part before a dot, for more than one of a kind (config(5)).
std::string without_prefix(const std::string& name);
// The module itself, or a link to it: `tpm2.so` for who loads it by that name.
bool is_our_module(const std::string& name, const std::string& module);
// Of that section alone: OpenSSL's modules do not look into the default section as well.
std::string own_text(const CONF* conf, const std::string& section, const std::string& key);
// True if OpenSSL activates the provider of that section.
bool is_active(const CONF* conf, const std::string& section);

// The section that loads hwid.so.
struct OurSection {
  std::string name;  // of the provider
  std::string section;
  bool active;
};
// Of those in the section `providers`: the first one that is active, else the first.
std::optional<OurSection> our_section(const CONF* conf, const std::string& providers);

}  // namespace hwid::openssl_conf
