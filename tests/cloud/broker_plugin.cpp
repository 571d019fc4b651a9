// The way from mosquitto to a stand-in cloud: a plugin (mosquitto_plugin.h) that asks it about
// everything that a client does, and drops clients as clouds do.
#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <openssl/x509.h>

#include <fstream>
#include <sstream>
#include <stdexcept>

#include "cloud/authority.h"
#include "cloud/cloud.h"
#include "cloud/faults.h"

namespace hwid::stand_in {

const std::string& option(const Options& options, const std::string& name) {
  const auto found = options.find(name);
  if (found == options.end()) throw std::runtime_error("mosquitto.conf has no plugin_opt_" + name);
  return found->second;
}

std::string read_file(const std::string& path) {
  const std::ifstream in(path);
  if (!in) throw std::runtime_error("cannot read " + path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

namespace {

constexpr const char* kHttpUser = "http:";  // of the HTTPS front: http:IDENTITY#FINGERPRINT

struct Plugin {
  std::unique_ptr<Cloud> cloud;
  Faults faults;
};

void log(const std::string& text) {
  mosquitto_log_printf(MOSQ_LOG_NOTICE, "stand-in: %s", text.c_str());
}

std::string text_of(const char* text) { return text == nullptr ? std::string() : text; }

std::string common_name(X509* certificate) {
  const X509_NAME* const name = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (at < 0) return {};
  const ASN1_STRING* const text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<std::size_t>(ASN1_STRING_length(text))};
}

Client client_of(const mosquitto* client) {
  Client who;
  who.id = text_of(mosquitto_client_id(client));
  who.user_name = text_of(mosquitto_client_username(client));
  who.mqtt_5 = mosquitto_client_protocol_version(client) == 5;
  who.keep_alive = mosquitto_client_keepalive(client);
  if (auto* const certificate = static_cast<X509*>(mosquitto_client_certificate(client))) {
    who.identity = common_name(certificate);
    who.fingerprint = fingerprint_of(certificate);
    X509_free(certificate);
  } else if (who.user_name.rfind(kHttpUser, 0) == 0) {
    who.identity = who.user_name.substr(std::string(kHttpUser).size());
    if (const auto hash = who.identity.rfind('#'); hash != std::string::npos) {
      who.fingerprint = who.identity.substr(hash + 1);
      who.identity.erase(hash);
    }
    who.over_http = true;
  } else {
    who.is_operator = true;
  }
  return who;
}

int on_connect(int, void* event_data, void* user_data) {
  const auto& event = *static_cast<mosquitto_evt_basic_auth*>(event_data);
  Client client = client_of(event.client);
  client.user_name = text_of(event.username);
  client.has_password = event.password != nullptr;
  auto& plugin = *static_cast<Plugin*>(user_data);
  std::string why = plugin.cloud->connect(client);
  if (why.empty() && plugin.faults.refuses("connect-" + client.id)) why = "a fault of the test";
  if (why.empty()) return MOSQ_ERR_SUCCESS;
  log("client " + client.id + " is refused: " + why);
  return MOSQ_ERR_AUTH;
}

Publication publication_of(const char* topic, const void* payload, std::size_t size, int qos,
                           bool retain) {
  return {text_of(topic),
          size == 0 ? std::string() : std::string(static_cast<const char*>(payload), size), qos,
          retain};
}

int on_access(int, void* event_data, void* user_data) {
  const auto& event = *static_cast<mosquitto_evt_acl_check*>(event_data);
  Cloud& cloud = *static_cast<Plugin*>(user_data)->cloud;
  const Client client = client_of(event.client);
  std::string why;
  switch (event.access) {
    case MOSQ_ACL_WRITE:
      why = cloud.publish(client, publication_of(event.topic, event.payload, event.payloadlen,
                                                 event.qos, event.retain));
      break;
    case MOSQ_ACL_SUBSCRIBE:
      why = cloud.subscribe(client, event.topic, event.qos);
      break;
    case MOSQ_ACL_READ:
      why = cloud.receive(client, event.topic);
      break;
    default:
      return MOSQ_ERR_SUCCESS;
  }
  if (why.empty()) return MOSQ_ERR_SUCCESS;
  log("client " + client.id + ", topic " + event.topic + ": " + why);
  // MQTT 3.1.1 has no negative PUBACK: the clouds close the connection.
  if (event.access == MOSQ_ACL_WRITE && !client.mqtt_5)
    mosquitto_kick_client_by_clientid(client.id.c_str(), false);
  return MOSQ_ERR_ACL_DENIED;
}

void send(const std::string& client_id, const std::string& topic, const std::string& payload) {
  const int sent = mosquitto_broker_publish_copy(client_id.empty() ? nullptr : client_id.c_str(),
                                                 topic.c_str(), static_cast<int>(payload.size()),
                                                 payload.data(), 1, false, nullptr);
  if (sent != MOSQ_ERR_SUCCESS) log("cannot send to " + topic);
}

int on_message(int, void* event_data, void* user_data) {
  const auto& event = *static_cast<mosquitto_evt_message*>(event_data);
  try {
    auto& plugin = *static_cast<Plugin*>(user_data);
    plugin.faults.handle(
        *plugin.cloud, client_of(event.client),
        publication_of(event.topic, event.payload, event.payloadlen, event.qos, event.retain), send,
        [](const std::string& id) { mosquitto_kick_client_by_clientid(id.c_str(), false); });
  } catch (const std::exception& error) {
    log(std::string("cannot handle a message: ") + error.what());
  }
  return MOSQ_ERR_SUCCESS;
}

int on_tick(int, void*, void* user_data) {
  static_cast<Plugin*>(user_data)->faults.tick(send);
  return MOSQ_ERR_SUCCESS;
}

}  // namespace

}  // namespace hwid::stand_in

extern "C" {

__attribute__((visibility("default"))) int mosquitto_plugin_version(int count,
                                                                    const int* versions) {
  for (int i = 0; i < count; ++i)
    if (versions[i] == MOSQ_PLUGIN_VERSION) return MOSQ_PLUGIN_VERSION;
  return -1;
}

__attribute__((visibility("default"))) int mosquitto_plugin_init(mosquitto_plugin_id_t* id,
                                                                 void** user_data,
                                                                 mosquitto_opt* options,
                                                                 int count) {
  using namespace hwid::stand_in;  // NOLINT(google-build-using-namespace)
  try {
    Options given;
    for (int i = 0; i < count; ++i) given[options[i].key] = text_of(options[i].value);
    auto plugin = std::make_unique<Plugin>(
        Plugin{option(given, "cloud") == "aws" ? make_aws_cloud(given) : make_azure_cloud(given),
               Faults(given.count("faults") == 0 ? "" : given["faults"])});
    Plugin* const made = plugin.release();
    *user_data = made;
    const std::pair<int, MOSQ_FUNC_generic_callback> callbacks[] = {
        {MOSQ_EVT_BASIC_AUTH, on_connect},
        {MOSQ_EVT_ACL_CHECK, on_access},
        {MOSQ_EVT_MESSAGE, on_message},
        {MOSQ_EVT_TICK, on_tick}};
    for (const auto& [event, callback] : callbacks)
      if (mosquitto_callback_register(id, event, callback, nullptr, made) != MOSQ_ERR_SUCCESS)
        return MOSQ_ERR_UNKNOWN;
    return MOSQ_ERR_SUCCESS;
  } catch (const std::exception& error) {
    mosquitto_log_printf(MOSQ_LOG_ERR, "stand-in: %s", error.what());
    return MOSQ_ERR_INVAL;
  }
}

__attribute__((visibility("default"))) int mosquitto_plugin_cleanup(void* user_data, mosquitto_opt*,
                                                                    int) {
  delete static_cast<hwid::stand_in::Plugin*>(user_data);
  return MOSQ_ERR_SUCCESS;
}
}
