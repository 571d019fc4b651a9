// The files that PKCS#11 modules are, and those that they read.
#pragma once

#include <optional>
#include <string>

#include "tools/hwid/doctor/cause.h"

namespace hwid::tool::doctor {

// What to do about a module that is not at `path`: where a file of that name is, or the package
// that has it.
// `setting`: as a line begins that names one, "module = ".
std::string where_module_is(const std::string& path, const std::string& setting);

// What is wrong with the files that a module of that name reads for itself (SoftHSM's
// configuration and directory of tokens, tpm2-pkcs11's store), as a row of the table.
struct ModuleFault {
  const char* id;
  Values values;
};
std::optional<ModuleFault> fault_of_module_files(const std::string& module);

// The variable that says where these are ("SOFTHSM2_CONF"); empty where none is known.
std::string variable_of_module(const std::string& module);
// "SOFTHSM2_CONF=/home/me/x", with an absolute path: what tells a module of that name in any other
// process where it looks in this one. Empty: it looks where the system's default is, or nothing is
// known of it.
std::string place_of_module(const std::string& module);
// "SOFTHSM2_CONF=/etc/x: tokens in /var/lib/x": where the module looks; empty where nothing is
// known.
std::string where_module_looks(const std::string& module);

}  // namespace hwid::tool::doctor
