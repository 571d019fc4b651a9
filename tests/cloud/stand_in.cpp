#include "cloud/stand_in.h"

#include <unistd.h>

#include <csignal>
#include <sstream>
#include <stdexcept>

#include "tests/fixture/ports.h"

namespace hwid::test {

namespace {

using transport::DeviceConfig;

constexpr int kAttempts = 5;  // another process may take a free port first

void write_certificates(const std::filesystem::path& directory) {
  make_certificate(directory, "ca", "");
  make_certificate(directory, "other-ca", "");
  make_certificate(directory, "server", "ca",
                   "DNS:localhost,IP:127.0.0.1,IP:" + AzureStandIn::address());
  for (const char* name : {"line-7", "line-8", "unregistered", "claim"})
    make_certificate(directory, name, "ca");
  make_certificate(directory, "stranger", "other-ca");
}

}  // namespace

std::string conf_file(const std::string& name) {
  return read_file(std::filesystem::path(HWID_TEST_CONF_DIR) / name);
}

CommandResult run_command(const std::vector<std::string>& arguments) {
  const TemporaryDirectory directory;
  Process process(arguments, directory / "out", directory / "err");
  const int code = process.wait();
  return {code, read_file(directory / "out"), read_file(directory / "err")};
}

StandIn::StandIn(std::string options, const std::map<std::string, std::string>& files) {
  write_certificates(directory_.path());
  for (const auto& [name, text] : files) write_file(directory_ / name, text);
  std::filesystem::create_directory(directory_ / "authorities");
  const std::string place = "%DIR%";
  for (auto at = options.find(place); at != std::string::npos; at = options.find(place))
    options.replace(at, place.size(), directory_.path().string());
  start_broker(options);
}

void StandIn::start_broker(const std::string& options) {
  const char* const user = ::geteuid() == 0 ? "user root\n" : "";
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    broker_port_ = free_port();
    write_file(directory_ / "mosquitto.conf",
               std::string(user) + "per_listener_settings false\nallow_anonymous false\n" +
                   "max_keepalive 1200\nlog_type all\nlog_dest file " + file("broker.log") +
                   "\nplugin " + HWID_TEST_STAND_IN + "\n" + options + "\nlistener 0 " + socket() +
                   "\nlistener " + std::to_string(broker_port_) + " 127.0.0.1\nmax_qos 1\ncafile " +
                   file("ca.pem") + "\ncapath " + file("authorities") + "\ncertfile " +
                   file("server.pem") + "\nkeyfile " + file("server.key") +
                   "\nrequire_certificate true\n");
    broker_ = std::make_unique<Process>(
        std::vector<std::string>{HWID_TEST_MOSQUITTO, "-c", file("mosquitto.conf")},
        directory_ / "broker.out", directory_ / "broker.out");
    if (eventually([&] { return !broker_->running() || port_answers(broker_port_); }) &&
        broker_->running())
      return;
  }
  throw std::runtime_error("mosquitto does not start: " + read_file(directory_ / "broker.out") +
                           log());
}

// ssl_preread looks into the ClientHello and hands the connection on as it is.
// nginx's: the ports by name, and 443's by name and ALPN. One process: a worker would outlive a
// master that is killed.
std::string StandIn::front_conf(const std::string& broker, const std::string& https_line) const {
  std::ostringstream conf;
  conf << "load_module " << HWID_TEST_NGINX_STREAM << ";\n"
       << (::geteuid() == 0 ? "user root;\n" : "") << "daemon off;\nmaster_process off;\npid "
       << file("nginx.pid") << ";\nerror_log " << file("nginx.log")
       << " info;\nevents { worker_connections 128; }\nstream {\n"
       << "map $ssl_preread_server_name $named { '' ''; default " << broker << "; }\n"
       << "map '$ssl_preread_server_name $ssl_preread_alpn_protocols' $chosen {\n"
       << "  '~^[^ ]+ x-amzn-mqtt-ca$' " << broker << ";\n"
       << https_line << "  default '';\n}\nserver { listen 127.0.0.1:" << mqtts_port_
       << "; ssl_preread on; proxy_pass $named; }\nserver { listen 127.0.0.1:" << port_443_
       << "; ssl_preread on; proxy_pass $chosen; }\n}\n";
  return conf.str();
}

void StandIn::start_front(int https_port) {
  const std::string broker = "127.0.0.1:" + std::to_string(broker_port_);
  std::string https_line;
  if (https_port != 0)
    https_line = "  '~^[^ ]+ x-amzn-http-ca$' 127.0.0.1:" + std::to_string(https_port) + ";\n";
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    mqtts_port_ = free_port();
    port_443_ = free_port();
    write_file(directory_ / "nginx.conf", front_conf(broker, https_line));
    front_ = std::make_unique<Process>(
        std::vector<std::string>{HWID_TEST_NGINX, "-p", file(""), "-c", file("nginx.conf"), "-e",
                                 file("nginx.log")},
        directory_ / "nginx.out", directory_ / "nginx.out");
    if (eventually([&] {
          return !front_->running() || (port_answers(mqtts_port_) && port_answers(port_443_));
        }) &&
        front_->running())
      return;
  }
  throw std::runtime_error("nginx does not start: " + read_file(directory_ / "nginx.out") +
                           read_file(directory_ / "nginx.log"));
}

DeviceConfig StandIn::config(const std::string& device) const {
  DeviceConfig config;
  config.endpoint = std::string("mqtts://") + kHost + ":" + std::to_string(mqtts_port_);
  config.client_id = device;
  config.ca_file = file("ca.pem");
  config.cert = file(device + ".pem");
  config.key = file(device + ".key");
  return config;
}

void StandIn::operate(const std::string& topic, const std::string& payload) const {
  const auto result = run_command({HWID_TEST_MOSQUITTO_PUB, "--unix", socket(), "-V", "5", "-q",
                                   "1", "-t", topic, "-m", payload});
  if (result.code != 0) throw std::runtime_error("operate: " + result.err);
}

std::vector<std::string> StandIn::client(const std::string& program, const std::string& device,
                                         const std::vector<std::string>& more) const {
  std::vector<std::string> all = {program,
                                  "-h",
                                  kHost,
                                  "-p",
                                  std::to_string(mqtts_port_),
                                  "--cafile",
                                  file("ca.pem"),
                                  "--cert",
                                  file(device + ".pem"),
                                  "--key",
                                  file(device + ".key")};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

HttpsServer::HttpsServer(const TemporaryDirectory& directory, const std::vector<std::string>& mode,
                         std::string name)
    : directory_(directory), mode_(mode), name_(std::move(name)) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    port_ = free_port();
    start();
    if (process_->running()) return;
  }
  throw std::runtime_error("https_front.py: " + read_file(directory_ / (name_ + ".out")));
}

void HttpsServer::start() {
  std::vector<std::string> arguments = {HWID_TEST_PYTHON,
                                        "-B",
                                        HWID_TEST_HTTPS_FRONT,
                                        "--port",
                                        std::to_string(port_),
                                        "--directory",
                                        directory_.path().string(),
                                        "--log",
                                        (directory_ / (name_ + ".log")).string(),
                                        "--faults",
                                        (directory_ / (name_ + ".faults")).string()};
  arguments.insert(arguments.end(), mode_.begin(), mode_.end());
  process_ = std::make_unique<Process>(arguments, directory_ / (name_ + ".out"),
                                       directory_ / (name_ + ".out"));
  eventually([&] { return !process_->running() || port_answers(port_); });
}

void HttpsServer::faults(const std::string& lines) const {
  write_file(directory_ / (name_ + ".faults"), lines);
}

std::vector<std::string> HttpsServer::log() const {
  std::istringstream text(read_file(directory_ / (name_ + ".log")));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

AwsStandIn::AwsStandIn() : AwsStandIn(conf_file("aws-iot-policy.json")) {}

namespace {

const char* const kFleet = R"({"claims": ["claim"], "token-seconds": 3600, "templates": {
  "factory": {"parameters": ["SerialNumber"], "thing": "line-{SerialNumber}",
              "configuration": {"interval": "60"}},
  "closed": {"enabled": false, "parameters": [], "thing": "x"}}})";

}  // namespace

AwsStandIn::AwsStandIn(const std::string& policy, const std::string& claim_policy)
    : StandIn(
          "plugin_opt_cloud aws\nplugin_opt_region eu-central-1\n"
          "plugin_opt_account 123456789012\nplugin_opt_policy %DIR%/policy.json\n"
          "plugin_opt_things %DIR%/things.json\nplugin_opt_fleet %DIR%/fleet.json\n"
          "plugin_opt_claim_policy %DIR%/claim-policy.json\nplugin_opt_authority %DIR%/ca.pem\n"
          "plugin_opt_authority_key %DIR%/ca.key\nplugin_opt_faults %DIR%/mqtt.faults",
          {{"policy.json", policy},
           {"claim-policy.json", claim_policy},
           {"fleet.json", kFleet},
           {"things.json", R"({"line-7": ["line-7"], "line-8": ["line-8"]})"}}),
      https_(directory_, {"--broker", socket()}),
      credentials_(directory_,
                   {"--broker", socket(), "--credentials", "--lifetime", file("lifetime")},
                   "credentials") {
  start_front(https_.port());
}

DeviceConfig AwsStandIn::config(const std::string& device) const {
  DeviceConfig config = StandIn::config(device);
  config.profile = transport::Profile::aws;
  return config;
}

DeviceConfig AwsStandIn::https_config(const std::string& device) const {
  DeviceConfig config = AwsStandIn::config(device);
  config.endpoint = std::string("https://") + kHost + ":" + std::to_string(https_.port());
  return config;
}

std::string AzureStandIn::address() {
  const auto id = static_cast<unsigned>(::getpid());
  return "127." + std::to_string(1 + (id >> 16) % 254) + "." + std::to_string(id >> 8 & 255) + "." +
         std::to_string(1 + id % 254);
}

namespace {

std::string registration(const std::string& device) {
  return "\"" + device + R"(": {"hub": ")" + AzureStandIn::address() + R"(", "device": ")" +
         device + "\"}";
}

std::string azure_options(const std::string& host) {
  return "plugin_opt_cloud azure\nplugin_opt_hub " + host + "\nplugin_opt_address " +
         AzureStandIn::address() +
         "\nplugin_opt_devices [\"line-7\",\"line-8\"]\nplugin_opt_dps %DIR%/dps.json\n"
         "plugin_opt_faults %DIR%/mqtt.faults\nlistener 8883 " +
         AzureStandIn::address() +
         "\nmax_qos 1\ncafile %DIR%/ca.pem\ncapath %DIR%/authorities\n"
         "certfile %DIR%/server.pem\nkeyfile %DIR%/server.key\nrequire_certificate true\n";
}

}  // namespace

AzureStandIn::AzureStandIn()
    : StandIn(azure_options(kHost),
              {{"dps.json", R"({"id-scope": "0ne00000000", "polls": 1, "retry-after": 1,
                  "registrations": {)" +
                                registration("line-7") + ", " + registration("line-8") + "}}"}}) {
  start_front(0);
}

DeviceConfig AzureStandIn::config(const std::string& device) const {
  DeviceConfig config = StandIn::config(device);
  config.profile = transport::Profile::azure;
  return config;
}

}  // namespace hwid::test
