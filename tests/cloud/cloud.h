#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

// What a stand-in cloud is to the broker's plugin. README.md has its rules and their sources.
namespace hwid::stand_in {

// Who is connected. A device has a certificate; on the broker's own socket the HTTPS front speaks
// for one (no client id), and the test is the cloud's operator (no identity).
struct Client {
  std::string id;
  std::string identity;     // the certificate's common name
  std::string fingerprint;  // and its SHA-256, hexadecimal
  std::string user_name;
  bool has_password = false;
  bool is_operator = false;
  bool over_http = false;
  bool mqtt_5 = false;
  int keep_alive = 0;
};

struct Publication {
  std::string topic;
  std::string payload;
  int qos = 0;
  bool retain = false;
};

// Sends a message: to the client of that id, or to all who subscribed where it is empty.
using Send = std::function<void(const std::string& client_id, const std::string& topic,
                                const std::string& payload)>;

class Cloud {
 public:
  virtual ~Cloud() = default;

  // Each says why not; empty: allowed.
  virtual std::string connect(const Client& client) = 0;
  virtual std::string publish(const Client& client, const Publication& message) = 0;
  virtual std::string subscribe(const Client& client, const std::string& filter, int qos) = 0;
  virtual std::string receive(const Client& client, const std::string& topic) = 0;

  // The cloud's own topics: answers by `send`.
  virtual void published(const Client& client, const Publication& message, const Send& send) = 0;

  // For the faults of a test: what a question is called (empty: nothing goes wrong with it), and
  // the answer that says no.
  virtual std::string step_of(const Publication&) const { return {}; }
  virtual void refuse(const Client&, const Publication&, int, const Send&) {}
};

// The values of plugin_opt_NAME in mosquitto.conf. Throw std::runtime_error.
using Options = std::map<std::string, std::string>;
std::unique_ptr<Cloud> make_aws_cloud(const Options& options);
std::unique_ptr<Cloud> make_azure_cloud(const Options& options);

const std::string& option(const Options& options, const std::string& name);
std::string read_file(const std::string& path);

}  // namespace hwid::stand_in
