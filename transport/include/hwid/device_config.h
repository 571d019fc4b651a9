#pragma once

#include <hwid/transport_error.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace hwid::transport {

// MQTT's three promises. HTTPS knows the first two.
enum class Qos { at_most_once, at_least_once, exactly_once };

// azure_dps is Azure's provisioning service, which only enrolment talks to; no file can name it.
enum class Profile { generic, aws, azure, azure_dps, plain = generic };
enum class MqttVersion { v3_1_1, v5 };
enum class TlsVersion { v1_2, v1_3 };

// What device.conf says. Every member is named like its key; conf/device.conf explains each one.
// An empty string or optional is a key that was not given.
//
// Which of these a connection can honour is decided by the endpoint's scheme: open() refuses a
// value that the scheme cannot honour. The last group is for enrolment; open() does not look at it.
//
// A plain value: copy it freely, one thread at a time.
struct HWID_TRANSPORT_API DeviceConfig {
  std::string source;  // the file that it was read from, for messages

  std::string endpoint;  // mqtts://HOST[:PORT], wss:// and https://HOST[:PORT][/PATH]
  std::string client_id;
  Profile profile = Profile::generic;
  std::string model_id;  // of Azure IoT Plug and Play

  std::string ca_file;
  std::string ca_path;
  std::string cert;  // a path or a URI
  std::string key;   // a path or a URI
  std::vector<std::string> alpn;
  std::optional<TlsVersion> min_tls;
  std::string ciphers;
  std::string proxy;
  std::string crl_file;
  std::string ocsp;
  bool allow_plaintext = false;

  std::string topics_publish;
  std::string topics_subscribe;
  Qos qos = Qos::at_least_once;
  std::chrono::seconds keep_alive{30};
  bool clean_session = false;
  MqttVersion mqtt_version = MqttVersion::v3_1_1;
  std::string will_topic;
  std::string will_message;
  std::optional<std::chrono::seconds> session_expiry;
  std::optional<std::uint16_t> receive_maximum;

  std::string spool_dir;
  std::optional<std::uint64_t> spool_max_messages;
  std::optional<std::uint64_t> spool_max_bytes;
  std::string spool_full;

  std::string state_dir;
  std::string thing_name;
  std::string claim_cert;
  std::string claim_key;
  std::string template_name;
  std::string template_parameters;
  std::string role_alias;
  std::string credentials_endpoint;
  std::string dps_endpoint;
  std::string id_scope;
  std::string registration_id;
  std::string est_url;
  std::string renew_at;

  // Reads `file`, and then `state-dir/learned.conf` where that exists: what enrolment learned wins.
  // INI: `key = value`, a `[section]` is a prefix of its keys ([topics] publish = T is
  // topics.publish = T). A `#` begins a comment at the start of a line or after white space, so
  // that `a/#` is a topic filter. Throws Error, which names the file, the line and the key.
  static DeviceConfig read(const std::filesystem::path& file);

  // As a line of a file; an empty value says nothing. Throws Error.
  void set(const std::string& key, const std::string& value);

  // The keys that read() knows.
  static std::vector<std::string> keys();
};

}  // namespace hwid::transport
