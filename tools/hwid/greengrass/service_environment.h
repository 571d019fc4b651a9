// The environment that a service of Greengrass's will have, which is not this shell's.
#pragma once

#include <string>
#include <vector>

namespace hwid::tool::greengrass {

// In force for the whole process as long as one lives: of what was there only what a service that
// systemd starts has as well (PATH, HOME, the language, its credentials), what openssl.cnf does not
// decide (logs, the dynamic loader), and `kept`, which are names. Then `assignments` (NAME=VALUE),
// of one name the first, as the provider sets them. REQUIRES: one thread. Modules that were
// initialized before go on with what they had read.
class ServiceEnvironment {
 public:
  ServiceEnvironment(const std::vector<std::string>& kept,
                     const std::vector<std::string>& assignments);
  ~ServiceEnvironment();
  ServiceEnvironment(const ServiceEnvironment&) = delete;
  ServiceEnvironment& operator=(const ServiceEnvironment&) = delete;

 private:
  std::vector<std::string> before_;  // NAME=VALUE; cleansed at the end
};

}  // namespace hwid::tool::greengrass
