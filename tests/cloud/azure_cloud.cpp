// Azure IoT Hub, and the provisioning service before it: which topics a device has, twins, direct
// methods, messages to the device.
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "cloud/cloud.h"
#include "cloud/registrations.h"

namespace hwid::stand_in {

namespace {

using nlohmann::json;

constexpr std::size_t kMaxMessage = 256 * 1024UL;
constexpr int kMaxKeepAlive = 1177;
const std::string kTwin = "$iothub/twin/";
const std::string kReported = "$iothub/twin/PATCH/properties/reported/?$rid=";
const std::string kGet = "$iothub/twin/GET/?$rid=";
const std::string kDesired = "$iothub/twin/PATCH/properties/desired/";
const std::string kMethodAnswer = "$iothub/methods/res/";

bool begins_with(const std::string& text, const std::string& start) {
  return text.rfind(start, 0) == 0;
}

struct Twin {
  json desired = json::object();
  json reported = json::object();
  int desired_version = 1;
  int reported_version = 1;
};

class AzureCloud final : public Cloud {
 public:
  explicit AzureCloud(const Options& options)
      : hub_(option(options, "hub")), devices_(json::parse(option(options, "devices"))) {
    if (options.count("dps") != 0) registrations_.emplace(options);
    if (options.count("address") != 0) address_ = option(options, "address");
  }

  std::string connect(const Client& client) override {
    if (client.is_operator) return {};
    if (client.mqtt_5) return "MQTT 5";
    if (client.has_password) return "a password beside a certificate";
    if (registrations_ && Registrations::is_user(client.user_name))
      return registrations_->connect(client);
    if (client.id != client.identity || devices_.count(client.id) == 0)
      return "device " + client.id + " is not registered with the certificate of " +
             client.identity;
    if (client.keep_alive > kMaxKeepAlive) return "keep-alive";
    if (!is_user_name(client, hub_) && !is_user_name(client, address_))
      return "the user name " + client.user_name;
    subscribed_.erase(client.id);
    return {};
  }

  std::string publish(const Client& client, const Publication& message) override {
    if (client.is_operator) return {};
    if (is_registrant(client)) return registrations_->publish(message);
    if (message.qos > 1) return "QoS 2";
    if (message.payload.size() > kMaxMessage) return "more than 256 KB";
    for (const auto& own : {"devices/" + client.id + "/messages/events/", kGet, kReported})
      if (begins_with(message.topic, own)) return {};
    if (begins_with(message.topic, kMethodAnswer) &&
        message.topic.find("/?$rid=") != std::string::npos)
      return {};
    return "no topic of this device";
  }

  std::string subscribe(const Client& client, const std::string& filter, int) override {
    if (client.is_operator) return {};
    if (is_registrant(client)) return registrations_->subscribe(client, filter);
    const std::set<std::string> own = {"devices/" + client.id + "/messages/devicebound/#",
                                       "$iothub/twin/res/#", kDesired + "#",
                                       "$iothub/methods/POST/#"};
    if (own.count(filter) == 0) return "no topic of this device";
    subscribed_[client.id].insert(filter);
    return {};
  }

  std::string receive(const Client& client, const std::string& topic) override {
    if (is_registrant(client) && Registrations::receives(topic)) return {};
    if (client.is_operator || begins_with(topic, "$iothub/") ||
        begins_with(topic, "devices/" + client.id + "/messages/devicebound/"))
      return {};
    return "no topic of this device";
  }

  std::string step_of(const Publication& message) const override {
    return registrations_ ? Registrations::step_of(message.topic) : "";
  }

  void refuse(const Client& client, const Publication& message, int status,
              const Send& send) override {
    registrations_->refuse(client, message, status, send);
  }

  void published(const Client& client, const Publication& message, const Send& send) override {
    if (client.is_operator) return operate(message, send);
    if (is_registrant(client)) return registrations_->published(client, message, send);
    if (begins_with(message.topic, kGet)) {
      const Twin& twin = twins_[client.id];
      json desired = twin.desired;
      desired["$version"] = twin.desired_version;
      json reported = twin.reported;
      reported["$version"] = twin.reported_version;
      answer(client.id, "200", message.topic.substr(kGet.size()),
             json({{"desired", desired}, {"reported", reported}}).dump(), send);
    } else if (begins_with(message.topic, kReported)) {
      report(client.id, message, send);
    }
  }

 private:
  static bool is_user_name(const Client& client, const std::string& hub) {
    const std::string expected = hub + "/" + client.id + "/?api-version=2021-04-12";
    return client.user_name == expected || begins_with(client.user_name, expected + "&model-id=") ||
           begins_with(client.user_name, expected + "&DeviceClientType=");
  }

  // The user name is that of CONNECT for as long as the connection lives.
  bool is_registrant(const Client& client) const {
    return registrations_ && Registrations::is_user(client.user_name);
  }

  void report(const std::string& device, const Publication& message, const Send& send) {
    const std::string rid = message.topic.substr(kReported.size());
    const json change = json::parse(message.payload, nullptr, false);
    if (!change.is_object())
      return answer(device, "400", rid, R"({"errorCode":400,"message":"Invalid JSON"})", send);
    Twin& twin = twins_[device];
    twin.reported.merge_patch(change);
    answer(device, "204", rid + "&$version=" + std::to_string(++twin.reported_version), "", send);
  }

  // What an operator does with the hub's service API: topic operator/desired/DEVICE, and
  // operator/method/DEVICE/NAME/RID.
  void operate(const Publication& message, const Send& send) {
    const std::string desired = "operator/desired/";
    const std::string method = "operator/method/";
    if (begins_with(message.topic, desired)) {
      const std::string device = message.topic.substr(desired.size());
      Twin& twin = twins_[device];
      json change = json::parse(message.payload);
      twin.desired.merge_patch(change);
      change["$version"] = ++twin.desired_version;
      if (has(device, kDesired + "#"))
        send(device, kDesired + "?$version=" + std::to_string(twin.desired_version), change.dump());
    } else if (begins_with(message.topic, method)) {
      const std::string rest = message.topic.substr(method.size());
      const auto name = rest.find('/');
      const auto rid = rest.rfind('/');
      if (has(rest.substr(0, name), "$iothub/methods/POST/#"))
        send(rest.substr(0, name),
             "$iothub/methods/POST" + rest.substr(name, rid - name) +
                 "/?$rid=" + rest.substr(rid + 1),
             message.payload);
    }
  }

  void answer(const std::string& device, const std::string& status, const std::string& rid,
              const std::string& payload, const Send& send) {
    if (has(device, "$iothub/twin/res/#"))
      send(device, "$iothub/twin/res/" + status + "/?$rid=" + rid, payload);
  }

  // The hub's topics are the same for all devices: so each is sent to one, if it subscribed.
  bool has(const std::string& device, const std::string& filter) const {
    const auto found = subscribed_.find(device);
    return found != subscribed_.end() && found->second.count(filter) != 0;
  }

  const std::string hub_;
  std::string address_;  // the hub's other name
  std::optional<Registrations> registrations_;
  const std::set<std::string> devices_;
  std::map<std::string, std::set<std::string>> subscribed_;
  std::map<std::string, Twin> twins_;
};

}  // namespace

std::unique_ptr<Cloud> make_azure_cloud(const Options& options) {
  return std::make_unique<AzureCloud>(options);
}

}  // namespace hwid::stand_in
