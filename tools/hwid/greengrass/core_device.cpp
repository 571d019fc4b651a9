#include "tools/hwid/greengrass/core_device.h"

#include <hwid/device_config.h>

#include <filesystem>
#include <system_error>

#include "tools/hwid/key_source.h"
#include "tools/hwid/paths.h"
#include "transport/cloud/aws_policy.h"
#include "transport/endpoint.h"

namespace hwid::tool::greengrass {
namespace {

using transport::DeviceConfig;

// What the option says, else device.conf.
std::string chosen(const Invocation& invocation, const char* option,
                   const std::string& configured) {
  return invocation.has(option) ? invocation.text(option) : configured;
}

std::string host_of(const std::string& endpoint) {
  return endpoint.empty() ? "" : transport::parse_endpoint(endpoint).host;
}

// Empty: it does not tell, or is no host's name, which is found out later.
std::string region_of(const std::string& host) {
  return host.find_first_of(":/") == std::string::npos
             ? transport::aws::region_of("mqtts://" + host)
             : "";
}

}  // namespace

void add_core_options(po::options_description& options, const char* root) {
  auto add = options.add_options();
  add("config", po::value<std::string>()->value_name("FILE"),
      "a device.conf, which says what the next options do not; it is not changed");
  add("key", po::value<std::string>()->value_name("URI"), "the device's key");
  add("cert", po::value<std::string>()->value_name("FILE|URI"), "its certificate");
  add("ca", po::value<std::string>()->value_name("FILE"),
      "the CA of AWS's servers: AmazonRootCA1.pem");
  add("thing", po::value<std::string>()->value_name("NAME"),
      "the thing (device.conf: thing-name, else client-id)");
  add("region", po::value<std::string>()->value_name("REGION"), "of AWS (default: the endpoint's)");
  add("data-endpoint", po::value<std::string>()->value_name("HOST"),
      "AWS IoT Core's (aws iot describe-endpoint --endpoint-type iot:Data-ATS)");
  add("credentials-endpoint", po::value<std::string>()->value_name("HOST"),
      "the credential provider's (... --endpoint-type iot:CredentialProvider)");
  add("role-alias", po::value<std::string>()->value_name("NAME"),
      "with which components get credentials for AWS's other services");
  add("root", po::value<std::string>()->value_name("DIR"),
      ("Greengrass's own directory (default: " + std::string(root) + ")").c_str());
  add("out", po::value<std::string>()->value_name("FILE"),
      "where to write config.yaml (default: config.yaml)");
}

void require_given(const std::string& value, const char* option, const char* key) {
  if (value.empty())
    throw UsageError(std::string("--") + option + ": it is not given, and device.conf (--config) " +
                     "does not say it with " + key);
}

CoreDevice core_device(const Invocation& invocation, const char* root) {
  DeviceConfig config;
  if (invocation.has("config")) config = DeviceConfig::read(invocation.text("config"));
  CoreDevice device;
  device.key = chosen(invocation, "key", config.key);
  device.certificate = chosen(invocation, "cert", config.cert);
  device.root_ca = chosen(invocation, "ca", config.ca_file);
  device.thing =
      chosen(invocation, "thing", config.thing_name.empty() ? config.client_id : config.thing_name);
  device.data_endpoint = chosen(invocation, "data-endpoint", host_of(config.endpoint));
  device.credentials_endpoint =
      chosen(invocation, "credentials-endpoint", host_of(config.credentials_endpoint));
  device.role_alias = chosen(invocation, "role-alias", config.role_alias);
  device.root = chosen(invocation, "root", root);
  require_given(device.key, "key", "key");
  require_given(device.root_ca, "ca", "ca-file");
  require_given(device.thing, "thing", "thing-name");
  require_given(device.data_endpoint, "data-endpoint", "endpoint");
  require_given(device.credentials_endpoint, "credentials-endpoint", "credentials-endpoint");
  device.region = chosen(invocation, "region", region_of(device.data_endpoint));
  if (device.region.empty())
    throw UsageError("--region: the endpoint " + device.data_endpoint + " does not tell it");
  device.root_ca = absolute_with_links(device.root_ca);
  return device;
}

bool is_renewed(const std::string& source) {
  if (is_key_uri(source)) return false;
  std::error_code error;
  const std::filesystem::path directory =
      std::filesystem::path(absolute_with_links(source)).parent_path();
  return directory.filename() == "current" && std::filesystem::is_symlink(directory, error);
}

bool may_part(const std::string& key, const std::string& certificate) {
  if (!is_renewed(key) || !is_renewed(certificate))
    return is_renewed(key) != is_renewed(certificate);
  std::error_code error;
  return !std::filesystem::equivalent(parent_of(key), parent_of(certificate), error);
}

std::string config_file(const Invocation& invocation) {
  return invocation.has("out") ? invocation.text("out") : "config.yaml";
}

Existing existing(const Invocation& invocation) {
  return invocation.flag("force") ? Existing::kReplace : Existing::kRefuseWithoutForce;
}

}  // namespace hwid::tool::greengrass
