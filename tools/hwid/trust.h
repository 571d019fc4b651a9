// Who can change what the programs of others will load.
#pragma once

#include <openssl/conf.h>

#include <string>

namespace hwid::tool {

// Who can write what is loaded or included, or put another file there, chooses the code of every
// program that reads `target`. These say who else that is than the owner of `target` and root, as
// the beginning of a message; empty if nobody. What cannot be looked at is not trusted.

// `used` itself, what it links to, and the directories above both.
std::string distrust(const std::string& used, const std::string& target);

// `used`, and what it includes.
std::string distrust_configuration(const std::string& used, const std::string& target);

// The modules that any section names by path: a bare name is looked up where the system has them.
std::string distrust_modules(const CONF* conf, const std::string& target);

}  // namespace hwid::tool
