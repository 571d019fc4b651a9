// Greengrass's config.yaml: of the classic Nucleus (Java, with the PKCS#11 plugin) and of Nucleus
// Lite.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "provider/core/secret.h"

namespace hwid::tool::greengrass {

// A key's way from the document's root. A service's name, which has dots, is one step.
using Path = std::vector<std::string>;
std::string path_text(const Path& path);  // "system > privateKeyPath"

struct Setting {
  std::string value;
  int line = 0;           // from 1
  bool is_plain = false;  // a scalar without quotes: YAML may take it for a number
};

// What is wrong with the document itself.
struct Fault {
  enum class Kind {
    kMisplaced,      // it is there, under another parent: mostly the indentation
    kMisspelt,       // a key like it is there in its place
    kMissing,        // it is not there at all
    kPluginMissing,  // a key in hardware, and no PKCS#11 plugin that opens it
    kPinUnquoted,    // YAML reads a number where a PIN is meant
    kWrongUri,       // no URI of the right kind
    kLabelsDiffer,   // key and certificate of other labels, which the plugin does not find
    kSlotNotNumber,
    kWrongEndpoint,  // no host's name, or that of another service
  };
  Kind kind;
  Path path;           // that is meant
  Path found;          // kMisplaced: where it is
  std::string detail;  // kMisspelt: the key as it is written; kWrongUri, kWrongEndpoint: why
  int line = 0;        // 0: nowhere
};

// Immutable.
class Config {
 public:
  // Throws kNotPermitted for a file that cannot be read, kBadConfiguration for one that is no YAML:
  // the message has "FILE:LINE:COLUMN".
  static Config read(const std::string& file);
  // The same of a text that is not in that file yet.
  static Config parse(const std::string& text, const std::string& file);

  // Nucleus Lite, which opens keys through OpenSSL.
  bool is_lite() const noexcept { return lite_; }
  // The first in the order of the file's parts; nullopt: none.
  const std::optional<Fault>& fault() const noexcept { return fault_; }

  // `system`. Empty where it is not there.
  const std::string& private_key() const noexcept { return private_key_.value; }
  const std::string& certificate() const noexcept { return certificate_.value; }
  const std::string& root_ca() const noexcept { return root_ca_.value; }
  const std::string& data_endpoint() const noexcept { return data_endpoint_.value; }

  // Of the PKCS#11 plugin. Empty where it is not there.
  const std::string& library() const noexcept { return library_.value; }
  std::optional<unsigned long> slot() const noexcept { return slot_; }
  int slot_line() const noexcept { return slot_line_; }
  const core::Secret& user_pin() const noexcept { return pin_; }

 private:
  class Reader;
  bool lite_ = false;
  std::optional<Fault> fault_;
  Setting private_key_, certificate_, root_ca_, data_endpoint_, library_;
  std::optional<unsigned long> slot_;
  int slot_line_ = 0;
  core::Secret pin_;
};

}  // namespace hwid::tool::greengrass
