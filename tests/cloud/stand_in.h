#pragma once

#include <hwid/transport.h>

#include <csignal>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "broker.h"

namespace hwid::test {

// A file of conf/.
std::string conf_file(const std::string& name);

struct CommandResult {
  int code = 0;
  std::string out;
  std::string err;
};
// Runs a program to its end.
CommandResult run_command(const std::vector<std::string>& arguments);

// A cloud's MQTT on free ports of 127.0.0.1: mosquitto with client certificates required, asked
// for all that clients do by broker_plugin.cpp; before it nginx, which demands a server name, and
// on the role of port 443 also ALPN. The directory holds ca, other-ca, server (DNS:localhost) and
// the devices line-7 and line-8; stranger is by the other CA, unregistered by the right one. What
// is put into authorities/ (as capath, x509(1) -hash) is a CA of the devices from then on.
class StandIn {
 public:
  // `options` are lines of mosquitto.conf, `files` what they name: %DIR%/NAME.
  explicit StandIn(std::string options, const std::map<std::string, std::string>& files = {});
  virtual ~StandIn() = default;

  transport::DeviceConfig config(const std::string& device) const;
  int mqtts_port() const { return mqtts_port_; }
  int port_443() const { return port_443_; }
  const TemporaryDirectory& directory() const { return directory_; }
  std::string file(const std::string& name) const { return (directory_ / name).string(); }
  std::string log() const { return read_file(directory_ / "broker.log"); }
  std::string socket() const { return file("broker.sock"); }
  // What goes wrong with MQTT; tests/cloud/faults.h has the lines.
  void mqtt_faults(const std::string& lines) const { write_file(file("mqtt.faults"), lines); }

  // What the cloud's operator does: publishes, past all rules.
  void operate(const std::string& topic, const std::string& payload) const;
  // mosquitto_pub or _sub as a device, through the front; more arguments follow.
  std::vector<std::string> client(const std::string& program, const std::string& device,
                                  const std::vector<std::string>& more) const;

 protected:
  static constexpr const char* kHost = "localhost";
  // `https_port`: where ALPN x-amzn-http-ca leads; 0: nowhere.
  void start_front(int https_port);

  TemporaryDirectory directory_;

 private:
  void start_broker(const std::string& options);
  std::string front_conf(const std::string& broker, const std::string& https_line) const;

  int broker_port_ = 0;
  int mqtts_port_ = 0;
  int port_443_ = 0;
  std::unique_ptr<Process> broker_;
  std::unique_ptr<Process> front_;
};

// https_front.py on a port of its own.
class HttpsServer {
 public:
  // `mode`: the arguments that say what it is. NAME.log, NAME.faults and NAME.out are its files.
  HttpsServer(const TemporaryDirectory& directory, const std::vector<std::string>& mode,
              std::string name = "https");
  int port() const { return port_; }
  void stop() { process_->end(SIGTERM); }
  void start();  // also again, on the same port
  // What goes wrong, one a request; see https_front.py.
  void faults(const std::string& lines) const;
  std::vector<std::string> log() const;  // "PORT-OF-CLIENT METHOD PATH STATUS"

 private:
  const TemporaryDirectory& directory_;
  const std::vector<std::string> mode_;
  const std::string name_;
  int port_ = 0;
  std::unique_ptr<Process> process_;
};

// With fleet provisioning: the certificate `claim`, and the template `factory`, which wants a
// SerialNumber and calls the thing line-NUMBER; `closed` is not enabled.
class AwsStandIn : public StandIn {
 public:
  AwsStandIn();  // with conf/aws-iot-policy.json
  explicit AwsStandIn(const std::string& policy,
                      const std::string& claim_policy = conf_file("aws-claim-policy.json"));
  transport::DeviceConfig config(const std::string& device) const;        // mqtts://
  transport::DeviceConfig https_config(const std::string& device) const;  // the role of port 8443
  const HttpsServer& https() const { return https_; }
  const HttpsServer& credentials() const { return credentials_; }  // the credential provider

 private:
  HttpsServer https_;
  HttpsServer credentials_;
};

// With the provisioning service, whose registrations line-7 and line-8 are assigned to this hub: by
// its address, at which it has the port of a hub (8883).
class AzureStandIn : public StandIn {
 public:
  AzureStandIn();
  static std::string address();  // 127.A.B.C, this process's own
  transport::DeviceConfig config(const std::string& device) const;
};

}  // namespace hwid::test
