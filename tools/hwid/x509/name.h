// Distinguished names: from what users type, and as text.
#pragma once

#include <string>

#include "tools/hwid/x509/owners.h"

namespace hwid::tool::x509 {

// "/C=US/O=Example/CN=device" as `openssl req -subj` takes it (`\` escapes a character, `+` joins
// attributes to one RDN), or, without the slash, RFC 4514's "CN=device,O=Example,C=US", which
// begins at the other end and has `\2C` as well. UTF-8. Types are OpenSSL's names (CN, commonName)
// or object identifiers. Throws UsageError, which names the part, its number and what is wrong: the
// form, an unknown type, control characters, X.520's upper bounds (CN: 64 characters).
Name parse_subject(const std::string& text);

// What is wrong with a name that somebody else made, by the same rules; empty if nothing is.
std::string fault_of_name(const X509_NAME* name);

// RFC 4514 with UTF-8 as it stands: "CN=device,O=Example,C=US". Empty for an empty name.
std::string name_text(const X509_NAME* name);

}  // namespace hwid::tool::x509
