#include "transport/cloud/aws_credentials.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "transport/cloud/names.h"
#include "transport/cloud/url_encoding.h"
#include "transport/endpoint.h"
#include "transport/foreign_json.h"
#include "transport/https/caller.h"
#include "transport/https/explain.h"
#include "transport/scheme_options.h"
#include "transport/utc_time.h"

namespace hwid::transport::aws {

namespace {

using nlohmann::json;

constexpr const char* kWhat = "ask for credentials";
constexpr std::uint16_t kHttpsPort = 443;
constexpr std::size_t kMaxAlias = 128;
constexpr std::size_t kMaxKey = 512;
constexpr std::size_t kMaxToken = 16 * 1024UL;
constexpr int kOk = 200;
constexpr int kForbidden = 403;
constexpr int kNotFound = 404;

// Whatever holds credentials as text is cleansed at the end.
class Cleansed {
 public:
  explicit Cleansed(std::string& text) : text_(text) {}
  Cleansed(const Cleansed&) = delete;
  Cleansed& operator=(const Cleansed&) = delete;
  ~Cleansed() { OPENSSL_cleanse(text_.data(), text_.size()); }

 private:
  std::string& text_;
};

// And the texts of JSON's tree.
class CleansedTree {
 public:
  explicit CleansedTree(json& tree) : tree_(tree) {}
  CleansedTree(const CleansedTree&) = delete;
  CleansedTree& operator=(const CleansedTree&) = delete;
  ~CleansedTree() { cleanse(tree_); }

 private:
  static void cleanse(json& tree) noexcept {
    if (auto* const text = tree.get_ptr<std::string*>(); text != nullptr)
      OPENSSL_cleanse(text->data(), text->size());
    if (auto* const array = tree.get_ptr<json::array_t*>(); array != nullptr)
      for (json& part : *array) cleanse(part);
    if (auto* const object = tree.get_ptr<json::object_t*>(); object != nullptr)
      for (auto& entry : *object) cleanse(entry.second);
  }
  json& tree_;
};

[[noreturn]] void refuse(const std::string& where, const std::string& why,
                         const std::string& next_step = {}, int status = 0) {
  throw Error(ErrorKind::refused, kWhat, where, why, next_step, status);
}

// Characters that a text of an access key may have: none that would need JSON's escapes.
std::string secret_in(const std::string& where, const json& document, const char* name,
                      std::size_t most) {
  const auto value = document.find(name);
  if (value == document.end() || !value->is_string())
    refuse(where, std::string("the answer has no text ") + name);
  const auto& text = value->get_ref<const std::string&>();
  const bool good = !text.empty() && text.size() <= most &&
                    std::all_of(text.begin(), text.end(), [](unsigned char c) {
                      return c > ' ' && c < 127 && c != '"' && c != '\\';
                    });
  if (!good) refuse(where, std::string("the answer's ") + name + " is none");
  return text;
}

std::time_t time_of(const std::string& where, const std::string& text) {
  std::tm parts{};
  const char* const rest = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  if (rest == nullptr || *rest != '\0') refuse(where, "the answer's expiration is no time in UTC");
  return utc_time(parts);
}

TemporaryCredentials credentials_in(const std::string& where, const json& document,
                                    const char* const (&names)[4]) {
  TemporaryCredentials credentials;
  credentials.access_key_id = secret_in(where, document, names[0], kMaxKey);
  credentials.secret_access_key = secret_in(where, document, names[1], kMaxKey);
  credentials.session_token = secret_in(where, document, names[2], kMaxToken);
  credentials.expiration = secret_in(where, document, names[3], kMaxKey);
  credentials.ends = time_of(where, credentials.expiration);
  return credentials;
}

constexpr const char* kServiceNames[] = {"accessKeyId", "secretAccessKey", "sessionToken",
                                         "expiration"};
constexpr const char* kProcessNames[] = {"AccessKeyId", "SecretAccessKey", "SessionToken",
                                         "Expiration"};

std::string advice_for(long status, const DeviceConfig& config) {
  if (status == kForbidden)
    return "see that the thing " + config.thing_name +
           " has this certificate, that its policy allows iot:AssumeRoleWithCertificate on the "
           "role alias (`hwid aws policy` writes one), and that the role trusts "
           "credentials.iot.amazonaws.com";
  if (status == kNotFound)
    return "check role-alias; credentials-endpoint must be the one that `aws iot "
           "describe-endpoint --endpoint-type iot:CredentialProvider` gives, not that of MQTT";
  return "try again later";
}

https::HttpRequest request_of(const DeviceConfig& config, const Endpoint& endpoint) {
  https::HttpRequest request;
  request.method = https::HttpRequest::Method::get;
  request.url = "https://" + endpoint.authority() + "/role-aliases/" +
                cloud::url_encode(config.role_alias) + "/credentials";
  request.headers = {"x-amzn-iot-thingname: " + config.thing_name};
  return request;
}

https::Response call(const DeviceConfig& config, const Endpoint& endpoint,
                     std::chrono::milliseconds timeout) {
  try {
    return https::Caller().call(config, endpoint, request_of(config, endpoint), "", timeout);
  } catch (const Error& error) {
    throw https::explain(config, endpoint, error);
  }
}

}  // namespace

TemporaryCredentials::~TemporaryCredentials() {
  for (std::string* text : {&access_key_id, &secret_access_key, &session_token})
    OPENSSL_cleanse(text->data(), text->size());
}

void check_credential_settings(const DeviceConfig& config) {
  const auto place = [&](const char* key) {
    return [&, key](const char* why, const char* next) { refuse_option(config, key, why, next); };
  };
  if (config.credentials_endpoint.rfind("https://", 0) != 0)
    place("credentials-endpoint")(
        "it is not given, or does not begin with https://",
        "write https:// and the host that `aws iot describe-endpoint --endpoint-type "
        "iot:CredentialProvider` gives");
  if (!cloud::is_name(config.role_alias, kMaxAlias, "_-@=,"))
    place("role-alias")("it is not given, or no name of 1 to 128 of a-z A-Z 0-9 _ - @ = ,",
                        "write the name of the role alias");
  if (!cloud::is_name(config.thing_name, kMaxAlias, ":_-"))
    place("thing-name")("it is not given, or no name of 1 to 128 of a-z A-Z 0-9 : _ -",
                        "write the name of the device's thing");
  if (config.cert.empty() || config.key.empty())
    place("cert")("the service knows a device by its certificate", "give cert and key");
}

TemporaryCredentials fetch_credentials(const DeviceConfig& device,
                                       std::chrono::milliseconds timeout) {
  check_credential_settings(device);
  DeviceConfig config = device;
  config.endpoint = device.credentials_endpoint;
  config.alpn.clear();
  config.profile = Profile::generic;  // its ALPN name on port 443 is that of the data endpoint
  Endpoint endpoint = parse_endpoint(config.endpoint);
  if (endpoint.port == 0) endpoint.port = kHttpsPort;
  https::Response answer = call(config, endpoint, timeout);
  const Cleansed guard(answer.body);
  if (answer.status != kOk)
    refuse(config.endpoint,
           "the service answers " + std::to_string(answer.status) + " (" + https::words_of(answer) +
               ")",
           advice_for(answer.status, config), static_cast<int>(answer.status));
  json document = parse_foreign_json(answer.body);
  const CleansedTree tree_guard(document);
  if (!document.is_object() || !document.contains("credentials") ||
      !document["credentials"].is_object())
    refuse(config.endpoint, "the answer is no JSON object with credentials",
           "see that credentials-endpoint is a credential provider of AWS IoT");
  return credentials_in(config.endpoint, document["credentials"], kServiceNames);
}

std::string process_form(const TemporaryCredentials& credentials) {
  const std::string* const values[] = {&credentials.access_key_id, &credentials.secret_access_key,
                                       &credentials.session_token, &credentials.expiration};
  std::string text = R"({"Version": 1)";
  text.reserve(kMaxToken + 4 * kMaxKey);  // it does not move, and leaves no copy behind
  for (std::size_t i = 0; i < std::size(kProcessNames); ++i)
    text.append(", \"").append(kProcessNames[i]).append("\": \"").append(*values[i]).append("\"");
  return text.append("}");
}

TemporaryCredentials parse_process_form(const std::string& where, const std::string& text) {
  json document = parse_foreign_json(text);
  const CleansedTree guard(document);
  if (!document.is_object() || document.value("Version", json()) != 1)
    refuse(where, "it is no answer of a credential_process");
  return credentials_in(where, document, kProcessNames);
}

}  // namespace hwid::transport::aws
