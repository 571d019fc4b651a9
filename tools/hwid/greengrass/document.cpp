#include "tools/hwid/greengrass/document.h"

#include <yaml-cpp/yaml.h>

#include "provider/core/uri.h"

namespace hwid::tool::greengrass {
namespace {

// Maps of maps, in the order in which they come. Every text is in quotes: what looks like a number
// stays a text.
class Document {
 public:
  Document() { out_ << YAML::BeginDoc << YAML::BeginMap; }

  Document& begin(const char* key) {
    out_ << YAML::Key << key << YAML::Value << YAML::BeginMap;
    return *this;
  }
  Document& end() {
    out_ << YAML::EndMap;
    return *this;
  }
  Document& set(const char* key, const std::string& value) {
    out_ << YAML::Key << key << YAML::Value << YAML::DoubleQuoted << value;
    return *this;
  }
  Document& set(const char* key, std::uint64_t value) {
    out_ << YAML::Key << key << YAML::Value << value;
    return *this;
  }
  // What was not given is not written.
  Document& set_given(const char* key, const std::string& value) {
    return value.empty() ? *this : set(key, value);
  }
  std::string text() const { return std::string(out_.c_str()) + "\n"; }

 private:
  YAML::Emitter out_;
};

void set_endpoints(Document& document, const CoreDevice& device) {
  document.set("awsRegion", device.region)
      .set_given("iotRoleAlias", device.role_alias)
      .set("iotDataEndpoint", device.data_endpoint)
      .set("iotCredEndpoint", device.credentials_endpoint);
}

// With the token, which the plugin does not look at and people do; not where its name would
// mislead the plugin, which decodes the URI before it takes it apart.
std::string plugin_uri(const Classic& classic, const char* type) {
  const bool is_plain = classic.token.find_first_of(";=") == std::string::npos;
  return (is_plain ? "pkcs11:token=" + core::uri_escape(classic.token) + ";object="
                   : "pkcs11:object=") +
         core::uri_escape(classic.label) + ";type=" + type;
}

// In double quotes, at the end of the document: the emitter's memory is not cleansed.
void append_pin(std::string& text, const core::Secret& pin) {
  text.reserve(text.size() + 2 * pin.size() + 32);
  text.append("      userPin: \"");
  for (const std::uint8_t byte : pin.reveal()) {
    if (byte == '"' || byte == '\\') text += '\\';
    text += static_cast<char>(byte);
  }
  text.append("\"\n");
}

}  // namespace

std::string document_of(const CoreDevice& device, const Classic& classic) {
  Document document;
  document.begin("system")
      .set("certificateFilePath", plugin_uri(classic, "cert"))
      .set("privateKeyPath", plugin_uri(classic, "private"))
      .set("rootCaPath", device.root_ca)
      .set("rootpath", device.root)
      .set("thingName", device.thing)
      .end();
  document.begin("services").begin("aws.greengrass.Nucleus").set("componentType", "NUCLEUS");
  document.set("version", classic.version).begin("configuration");
  set_endpoints(document, device);
  document.end().end().begin("aws.greengrass.crypto.Pkcs11Provider").begin("configuration");
  document.set("name", "hwid").set("library", classic.library).set("slot", classic.slot);
  document.end().end().end();
  std::string text = document.text();
  append_pin(text, classic.pin);
  return text;
}

std::string document_of(const CoreDevice& device, const Lite& lite) {
  Document document;
  document.begin("system")
      .set("privateKeyPath", lite.private_key)
      .set("certificateFilePath", lite.certificate)
      .set("rootCaPath", device.root_ca)
      .set("rootPath", device.root)
      .set("thingName", device.thing)
      .end();
  document.begin("services").begin("aws.greengrass.NucleusLite").set("componentType", "NUCLEUS");
  document.begin("configuration");
  set_endpoints(document, device);
  document.begin("runWithDefault").set("posixUser", lite.component_user).end();
  document.set("greengrassDataPlanePort", "8443");
  document.end().end().end();
  return document.text();
}

}  // namespace hwid::tool::greengrass
