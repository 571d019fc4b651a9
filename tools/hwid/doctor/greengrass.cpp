// Greengrass's config.yaml: what is wrong with it, and what it says of token, PIN, key,
// certificate.
#include <algorithm>

#include "provider/core/error.h"
#include "tools/hwid/doctor/file_access.h"
#include "tools/hwid/doctor/probes.h"
#include "tools/hwid/greengrass/config.h"
#include "tools/hwid/greengrass/plugin.h"

namespace hwid::tool::doctor {
namespace {

using greengrass::Config;
using greengrass::Fault;
using greengrass::path_text;

const char* id_of(Fault::Kind kind) {
  switch (kind) {
    case Fault::Kind::kMisplaced:
      return "greengrass-indentation";
    case Fault::Kind::kMisspelt:
      return "greengrass-key-misspelt";
    case Fault::Kind::kMissing:
      return "greengrass-key-missing";
    case Fault::Kind::kPluginMissing:
      return "greengrass-plugin-missing";
    case Fault::Kind::kPinUnquoted:
      return "greengrass-pin-unquoted";
    case Fault::Kind::kWrongUri:
      return "greengrass-uri-wrong";
    case Fault::Kind::kLabelsDiffer:
      return "greengrass-labels-differ";
    case Fault::Kind::kWrongEndpoint:
      return "greengrass-endpoint-wrong";
    case Fault::Kind::kSlotNotNumber:
      break;
  }
  return "greengrass-slot-no-number";
}

void add(Examination& examination, const std::string& file, const Fault& fault) {
  const greengrass::Path above(fault.path.begin(), fault.path.end() - 1);
  const greengrass::Path found(fault.found.begin(),
                               fault.found.empty() ? fault.found.end() : fault.found.end() - 1);
  examination.add(
      id_of(fault.kind),
      {{"file", file},
       {"line", std::to_string(fault.line)},
       {"key", fault.path.back()},
       {"parent", path_text(above)},
       {"found", path_text(found)},
       {"type", fault.path.back() == "iotDataEndpoint" ? "iot:Data-ATS" : "iot:CredentialProvider"},
       {"detail", fault.detail}});
}

// The Java plugin's settings as a backend: module, PIN, and a key in its slot.
void use_plugin(Examination& examination, const Config& config) {
  examination.invocation().use_settings(
      greengrass::plugin_settings(kGreengrassBackend, config.library(), config.user_pin()));
  examination.key = config.private_key();
  examination.key_uri = core::KeyUri::parse(config.private_key());
  examination.key_scope = kGreengrassBackend;
  if (config.slot()) examination.key_uri->set_slot_id(*config.slot());
  examination.slot_of_config = config.slot();
}

// Java goes past OpenSSL; without a key in a token, past tokens as well.
void skip_openssl(Examination& examination, bool has_token) {
  constexpr Probes kOpenssl = {Probe::kConfFile, Probe::kConfLayout, Probe::kProviderModule,
                               Probe::kConfKeys, Probe::kConfValues, Probe::kUris,
                               Probe::kUse,      Probe::kNetwork};
  constexpr Probes kAllButFiles = {Probe::kConfFile, Probe::kConfLayout, Probe::kProviderModule,
                                   Probe::kConfKeys, Probe::kConfValues, Probe::kUris,
                                   Probe::kModule,   Probe::kToken,      Probe::kPin,
                                   Probe::kKey,      Probe::kUse,        Probe::kNetwork};
  examination.skip(has_token ? kOpenssl : kAllButFiles);
}

std::string in_slot(const std::string& uri, std::optional<unsigned long> slot) {
  return uri.starts_with("pkcs11:") && slot ? uri + ";slot-id=" + std::to_string(*slot) : uri;
}

bool is_of(const core::Libcrypto& crypto, const core::Object& certificate, const core::Key& key) {
  return core::PublicKey::from_certificate(crypto, certificate.certificate) == key.public_key();
}

}  // namespace

bool is_greengrass_config(const std::string& file) {
  return file.ends_with(".yaml") || file.ends_with(".yml");
}

void probe_greengrass(Examination& examination) {
  const std::string& file = examination.greengrass_file;
  if (file.empty()) return;
  try {
    if (!examination.greengrass) {
      require_file(file);
      examination.greengrass = Config::read(file);
    }
    const Config& config = *examination.greengrass;
    if (config.fault()) {
      add(examination, file, *config.fault());
      return;
    }
    const bool is_java = !config.is_lite();
    const bool has_token = is_java && config.private_key().starts_with("pkcs11:");
    if (is_java) skip_openssl(examination, has_token);
    if (has_token) use_plugin(examination, config);
    if (examination.key.empty()) examination.key = config.private_key();
    if (examination.certificate.empty())
      examination.certificate =
          in_slot(config.certificate(), is_java ? config.slot() : std::nullopt);
    if (examination.authority.empty()) examination.authority = config.root_ca();
    if (config.is_lite() && examination.endpoint.empty() && !config.data_endpoint().empty())
      examination.endpoint = config.data_endpoint() + ":8883";
    examination.passed("config.yaml of " +
                       std::string(config.is_lite() ? "Nucleus Lite" : "Nucleus"));
  } catch (const core::Error& error) {
    const bool is_yaml = error.reason == core::Reason::kBadConfiguration;
    examination.add(is_yaml ? "greengrass-yaml" : "greengrass-file",
                    {{"file", file}, {"error", error.what()}});
  }
}

void probe_greengrass_slot(Examination& examination) {
  if (!examination.slot_of_config) return;
  const std::vector<core::TokenInfo>& tokens = examination.inventory();
  const auto there = std::ranges::find_if(tokens, [&](const core::TokenInfo& token) {
    return token.present && token.initialized && token.slot_id == *examination.slot_of_config;
  });
  if (there != tokens.end()) return;
  std::vector<std::string> meant;  // by token= in the URI, where that is there
  std::string list;
  for (const core::TokenInfo& token : tokens) {
    if (!token.present || !token.initialized || !token.slot_id) continue;
    const std::string number = std::to_string(*token.slot_id);
    list.append(list.empty() ? "" : ", ").append("slot " + number + ": " + token.label);
    if (!examination.key_uri->token() || *examination.key_uri->token() == token.label)
      meant.push_back(number);
  }
  examination.add(
      "greengrass-slot-wrong",
      {{"file", examination.greengrass_file},
       {"there", "there is no token in slot " + std::to_string(*examination.slot_of_config) +
                     "; the module has " + (list.empty() ? "none" : list)},
       {"slot", meant.size() == 1 ? meant.front() : "NUMBER"}},
      kGreengrassBackend);
}

// Java's key store has the certificate by its label, and the key to it by its CKA_ID: a label that
// several have stands for none of them.
void probe_greengrass_objects(Examination& examination) {
  if (!examination.slot_of_config || !examination.certificate.starts_with("pkcs11:") ||
      examination.is_silenced(Probe::kCertificate, examination.key_scope))
    return;
  const std::string label = examination.key_uri->object().value_or("");
  const auto of_label = [&](const core::Wanted& wanted) {
    return examination.invocation().router().open(
        core::KeyUri::parse(
            in_slot("pkcs11:object=" + core::uri_escape(label), examination.slot_of_config)),
        wanted, nullptr, core::Router::Origin::kProgram);
  };
  Values values = {{"file", examination.greengrass_file}, {"label", label}};
  examination.begins_at_device("looking for the certificates called " + label,
                               examination.key_scope);
  try {
    const core::Object key = std::move(of_label({true, false, false}).front());
    const std::vector<core::Object> certificates = of_label({false, false, true});
    values["token"] = core::uri_escape(key.description.token);
    values["object"] = core::uri_escape(label);
    values["number"] = std::to_string(certificates.size());
    values["id"] = core::uri_escape_id(key.description.id);
    values["other"] = core::uri_escape_id(certificates.front().description.id);
    if (certificates.size() > 1)
      examination.add("greengrass-label-several", std::move(values), kNoBackend);
    else if (certificates.front().description.id != key.description.id &&
             is_of(examination.invocation().software(), certificates.front(), *key.key))
      examination.add("greengrass-ids-differ", std::move(values), kNoBackend);
  } catch (const core::Error&) {  // what is not there is told with the key or the certificate
  }
}

}  // namespace hwid::tool::doctor
