// Subject alternative names: from what users type, from a request, and as text.
#pragma once

#include <string>
#include <vector>

#include "tools/hwid/x509/owners.h"

namespace hwid::tool::x509 {

// Each text is a list as OpenSSL writes it, "DNS:a.example,IP:192.0.2.7,URI:urn:uuid:...,email:a@b"
// (a comma that no such word follows belongs to the value). Null if there is none. Throws
// UsageError, which names the part and what is wrong with it.
AltNames parse_alt_names(const std::vector<std::string>& texts);

// What is wrong with names that somebody else made, by the same rules; empty if nothing is. Kinds
// other than those four are wrong.
std::string fault_of_alt_names(const GENERAL_NAMES* names);

std::vector<std::string> alt_name_texts(const GENERAL_NAMES* names);  // "DNS:a.example"

}  // namespace hwid::tool::x509
