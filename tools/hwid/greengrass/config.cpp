#include "tools/hwid/greengrass/config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "provider/core/error.h"
#include "provider/core/uri.h"
#include "tools/hwid/files.h"
#include "tools/openssl_conf/known_keys.h"

namespace hwid::tool::greengrass {
namespace {

constexpr char kPlugin[] = "aws.greengrass.crypto.Pkcs11Provider";
constexpr char kNucleus[] = "aws.greengrass.Nucleus";
constexpr char kLite[] = "aws.greengrass.NucleusLite";
constexpr int kDeepest = 32;
constexpr int kMostNodes = 100000;  // seen on the way: an alias makes one of many

bool is_fleet_provisioning(const std::string& service) {
  return service == "aws.greengrass.FleetProvisioningByClaim" ||
         service == "aws.greengrass.fleet_provisioning";
}

// A way below `node`; an undefined node where it ends before.
YAML::Node at(const YAML::Node& root, const Path& path) {
  YAML::Node node;
  node.reset(root);
  for (const std::string& step : path) {
    if (!node.IsMap()) return YAML::Node(YAML::NodeType::Undefined);
    const YAML::Node next = node[step];
    if (!next.IsDefined()) return YAML::Node(YAML::NodeType::Undefined);
    node.reset(next);
  }
  return node;
}

std::vector<std::string> keys_of(const YAML::Node& map) {
  std::vector<std::string> keys;
  if (!map.IsDefined() || !map.IsMap()) return keys;
  for (const auto& entry : map) {
    if (entry.first.IsScalar()) keys.push_back(entry.first.Scalar());
  }
  return keys;
}

// Looks for a key, whatever stands above it. Fleet provisioning has the same names.
class Search {
 public:
  explicit Search(const std::string& key) : key_(key) {}

  std::optional<Path> below(const YAML::Node& node, const Path& above, int depth = 0) {
    if (depth > kDeepest || !node.IsDefined() || !node.IsMap()) return std::nullopt;
    for (const auto& entry : node) {
      if (++seen_ > kMostNodes)
        throw core::Error(core::Reason::kBadConfiguration,
                          "config.yaml: its aliases (*NAME) make more than " +
                              std::to_string(kMostNodes) +
                              " entries of it; write out what they stand for");
      if (!entry.first.IsScalar()) continue;
      const std::string name = entry.first.Scalar();
      if (is_fleet_provisioning(name)) continue;
      Path here = above;
      here.push_back(name);
      if (name == key_) return here;
      if (auto found = below(entry.second, here, depth + 1)) return found;
    }
    return std::nullopt;
  }

 private:
  const std::string& key_;
  int seen_ = 0;
};

std::optional<Path> find_anywhere(const YAML::Node& root, const std::string& key) {
  return Search(key).below(root, {});
}

bool is_pkcs11(const std::string& value) { return value.starts_with("pkcs11:"); }

// Why a text is not the name of a host of that service of AWS IoT; empty: it may be.
std::string fault_of_endpoint(const std::string& text, bool is_for_data) {
  const bool is_for_credentials = text.find(".credentials.iot.") != std::string::npos;
  if (text.find("://") != std::string::npos) return "it has a scheme";
  if (text.find(':') != std::string::npos) return "it has a port";
  if (!std::ranges::all_of(text, [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_';
      }))
    return "it has characters that no host's name has";
  if (is_for_data && is_for_credentials) return "it is the one of the credential provider";
  if (!is_for_data && !is_for_credentials && text.ends_with(".amazonaws.com"))
    return "it is not the one of the credential provider";
  return "";
}

// YAML 1.1, which Java's readers speak, takes these for numbers: 0123 is 83.
bool is_changed_as_number(const std::string& text) {
  const bool all_digits = !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
    return (c >= '0' && c <= '9') || c == '_';
  });
  const bool has_prefix =
      text.starts_with("0x") || text.starts_with("0o") || text.starts_with("0b");
  return has_prefix ||
         (all_digits && (text.front() == '0' || text.find('_') != std::string::npos) &&
          text.size() > 1);
}

}  // namespace

std::string path_text(const Path& path) {
  std::string text;
  for (const std::string& step : path) text.append(text.empty() ? "" : " > ").append(step);
  return text.empty() ? "the beginning" : text;
}

// Looks at the parts in their order; the first fault ends it.
class Config::Reader {
 public:
  Reader(Config& config, const YAML::Node& root) : config_(config), root_(root) {}

  void run() {
    config_.lite_ = find_anywhere(root_, kLite).has_value();
    const bool sound = require({"system"}) &&
                       read({"system", "privateKeyPath"}, config_.private_key_) &&
                       read({"system", "certificateFilePath"}, config_.certificate_) &&
                       read({"system", "rootCaPath"}, config_.root_ca_) && require_thing() &&
                       require({"services"}) && read_nucleus();
    if (!sound) return;
    if (config_.lite_ || !is_pkcs11(config_.private_key_.value)) return;
    if (read_plugin() &&
        check_uri(config_.private_key_, "privateKeyPath", core::ObjectClass::kPrivateKey) &&
        check_uri(config_.certificate_, "certificateFilePath", core::ObjectClass::kCertificate))
      check_labels();
  }

 private:
  bool fail(Fault::Kind kind, Path path, int line, const std::string& detail = "",
            Path found = {}) {
    if (!config_.fault_)
      config_.fault_ = Fault{kind, std::move(path), std::move(found), detail, line};
    return false;
  }

  static int line_of(const YAML::Node& node) { return node.Mark().line + 1; }

  // It is there as meant; else a fault.
  bool require(const Path& path) {
    if (at(root_, path).IsDefined()) return true;
    const Path above(path.begin(), path.end() - 1);
    const YAML::Node parent = above.empty() ? root_ : at(root_, above);
    if (const auto near = openssl_conf::nearest(path.back(), keys_of(parent)))
      return fail(Fault::Kind::kMisspelt, path, line_of(parent[*near]), *near);
    if (auto found = find_anywhere(root_, path.back()))
      return fail(Fault::Kind::kMisplaced, path, line_of(at(root_, *found)), "", *found);
    return fail(path.back() == kPlugin ? Fault::Kind::kPluginMissing : Fault::Kind::kMissing, path,
                0);
  }

  // Under fleet provisioning the device does not have them yet.
  bool is_to_come(const Path& path) const {
    return !at(root_, path).IsDefined() && has_fleet_provisioning() &&
           !find_anywhere(root_, path.back());
  }

  bool read(const Path& path, Setting& setting) {
    if (is_to_come(path)) return true;
    if (!require(path)) return false;
    const YAML::Node node = at(root_, path);
    if (!node.IsScalar() || (node.Scalar().empty() && !has_fleet_provisioning()))
      return fail(Fault::Kind::kMissing, path, line_of(node));
    setting = {node.Scalar(), line_of(node), node.Tag() != "!"};
    return true;
  }

  bool has_fleet_provisioning() const {
    const std::vector<std::string> services = keys_of(at(root_, {"services"}));
    return std::ranges::any_of(services, is_fleet_provisioning);
  }

  bool require_thing() {
    Setting thing;
    return read({"system", "thingName"}, thing);
  }

  bool read_nucleus() {
    const Path nucleus = {"services", config_.lite_ ? kLite : kNucleus};
    if (is_to_come(nucleus)) return true;
    Path configuration = nucleus;
    configuration.emplace_back("configuration");
    if (!require(nucleus) || !require(configuration)) return false;
    Setting credentials;
    Setting region;
    Setting role_alias;
    // The Java Nucleus takes the region from its command line as well, and starts without the role,
    // which the token exchange of Lite does not.
    if (config_.lite_ && !(read_below(configuration, "awsRegion", region) &&
                           read_below(configuration, "iotRoleAlias", role_alias)))
      return false;
    return read_endpoint(configuration, "iotDataEndpoint", config_.data_endpoint_, true) &&
           read_endpoint(configuration, "iotCredEndpoint", credentials, false);
  }

  bool read_below(Path path, const char* key, Setting& setting) {
    path.emplace_back(key);
    return read(path, setting);
  }

  bool read_endpoint(const Path& above, const char* key, Setting& setting, bool is_for_data) {
    if (!read_below(above, key, setting)) return false;
    const std::string why = fault_of_endpoint(setting.value, is_for_data);
    if (why.empty()) return true;
    Path path = above;
    path.emplace_back(key);
    return fail(Fault::Kind::kWrongEndpoint, path, setting.line, why);
  }

  bool read_plugin() {
    const Path plugin = {"services", kPlugin};
    const Path configuration = {"services", kPlugin, "configuration"};
    const auto below = [&configuration](const char* key) {
      Path path = configuration;
      path.emplace_back(key);
      return path;
    };
    Setting slot;
    Setting pin;
    Setting name;
    const bool sound = require(plugin) && require(configuration) && read(below("name"), name) &&
                       read(below("library"), config_.library_) && read(below("slot"), slot) &&
                       read(below("userPin"), pin);
    const core::Cleansed guard(pin.value);
    if (!sound) return false;
    const char* const end = slot.value.data() + slot.value.size();
    unsigned long number = 0;
    const auto [stop, error] = std::from_chars(slot.value.data(), end, number);
    if (error != std::errc() || stop != end)
      return fail(Fault::Kind::kSlotNotNumber, below("slot"), slot.line);
    config_.slot_ = number;
    config_.slot_line_ = slot.line;
    if (pin.is_plain && is_changed_as_number(pin.value))
      return fail(Fault::Kind::kPinUnquoted, below("userPin"), pin.line);
    config_.pin_ = core::Secret(core::as_bytes(pin.value));
    return true;
  }

  bool check_uri(const Setting& setting, const char* key, core::ObjectClass wanted) {
    const Path path = {"system", key};
    if (!is_pkcs11(setting.value)) return true;
    const char* const type =
        wanted == core::ObjectClass::kPrivateKey ? "type=private" : "type=cert";
    try {
      const core::KeyUri uri = core::KeyUri::parse(setting.value);
      if (!uri.object())
        return fail(Fault::Kind::kWrongUri, path, setting.line,
                    "it has no object=, by which the plugin finds it");
      if (uri.type() != wanted)
        return fail(Fault::Kind::kWrongUri, path, setting.line,
                    std::string("it must have ") + type);
    } catch (const core::Error& error) {
      return fail(Fault::Kind::kWrongUri, path, setting.line, error.what());
    }
    return true;
  }

  void check_labels() {
    if (!is_pkcs11(config_.certificate_.value)) return;
    const auto label = [](const Setting& setting) {
      return core::KeyUri::parse(setting.value).object().value_or("");
    };
    if (label(config_.private_key_) != label(config_.certificate_))
      fail(Fault::Kind::kLabelsDiffer, {"system", "certificateFilePath"}, config_.certificate_.line,
           label(config_.private_key_));
  }

  Config& config_;
  const YAML::Node root_;
};

Config Config::read(const std::string& file) {
  std::string text = read_file(file);
  const core::Cleansed guard(text);
  return parse(text, file);
}

Config Config::parse(const std::string& text, const std::string& file) {
  Config config;
  try {
    Reader(config, YAML::Load(text)).run();
  } catch (const YAML::Exception& error) {
    const std::string place = file + ":" + std::to_string(error.mark.line + 1) + ":" +
                              std::to_string(error.mark.column + 1);
    throw core::Error(core::Reason::kBadConfiguration,
                      "config.yaml: " + place + ": " + error.msg +
                          "; mend the line: YAML wants blanks, never tabs, and the same number of "
                          "them for keys that stand side by side");
  }
  return config;
}

}  // namespace hwid::tool::greengrass
