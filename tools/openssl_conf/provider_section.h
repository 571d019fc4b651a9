// What an openssl.cnf says to the provider.
#pragma once

#include <openssl/conf.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "provider/core/config.h"

namespace hwid::openssl_conf {

// The section that loads hwid.so, as the provider sees it: a value that is the name of another
// section stands for that section, whose keys follow a dot ("keys.device", "dev.module").
// Immutable.
class ProviderSection {
 public:
  // A file that is not there, or has no section for us, gives one that is empty: the environment
  // and p11-kit's modules are then all there is. Throws kBadConfiguration for a file that cannot
  // be read or parsed.
  static ProviderSection read(const std::string& path);

  bool is_there() const noexcept { return !name_.empty(); }
  const std::string& name() const noexcept { return name_; }        // of the provider
  const std::string& section() const noexcept { return section_; }  // in the file
  bool is_activated() const noexcept { return activated_; }

  std::optional<std::string> get(const std::string& key) const;
  // What follows "PREFIX." in the keys, in the file's order of names.
  std::vector<std::string> below(const std::string& prefix) const;
  // Lives no longer than this object.
  core::ConfigLookup lookup() const;

 private:
  void add(const CONF* conf, const std::string& prefix, const std::string& section, int depth);

  std::string name_;
  std::string section_;
  bool activated_ = false;
  std::map<std::string, std::string> values_;
};

}  // namespace hwid::openssl_conf
