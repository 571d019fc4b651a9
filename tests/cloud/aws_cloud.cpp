// AWS IoT Core: who may do what by the user's own policy, the broker's limits, and device shadows.
#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "cloud/cloud.h"
#include "cloud/fleet.h"
#include "tools/hwid/aws/iot_policy.h"

namespace hwid::stand_in {

namespace {

using tool::aws::IotPolicy;
using tool::aws::Variables;

using nlohmann::json;

constexpr std::size_t kMaxClientId = 128;
constexpr std::size_t kMaxTopic = 256;
constexpr std::ptrdiff_t kMaxSlashes = 7;
constexpr std::size_t kMaxPayload = 128 * 1024UL;
constexpr std::size_t kMaxShadow = 8 * 1024UL;
constexpr int kMaxKeepAlive = 1200;
const std::string kRoleAlias = "$rolealias/";

bool begins_with(const std::string& text, const std::string& start) {
  return text.rfind(start, 0) == 0;
}

std::string check_topic(std::string topic) {
  if (topic.front() == '$' && !begins_with(topic, "$aws/") && !begins_with(topic, "$share/"))
    return "a reserved topic";
  for (const char* prefix : {"$aws/rules/", "$share/"})
    if (begins_with(topic, prefix)) {
      const auto slash = topic.find('/', std::string(prefix).size());
      if (slash == std::string::npos) return "nothing behind the prefix";
      topic.erase(0, slash + 1);
    }
  if (topic.size() > kMaxTopic) return "more than 256 bytes of topic";
  if (std::count(topic.begin(), topic.end(), '/') > kMaxSlashes) return "more than 7 slashes";
  return {};
}

// A shadow's document; "Device Shadow service documents".
class Shadow {
 public:
  json get(const std::string& name) const {
    if (version_ == 0 || deleted_) throw refusal(404, "No shadow exists with name: '" + name + "'");
    json state = sections();
    if (const json delta = difference(); !delta.empty()) state["delta"] = delta;
    return {{"state", state}, {"version", version_}};
  }

  json update(const json& document) {
    const auto state = document.find("state");
    if (state == document.end()) throw refusal(400, "Missing required node: state");
    if (!state->is_object()) throw refusal(400, "State node must be an object");
    for (const auto& [key, value] : state->items())
      if (key != "desired" && key != "reported")
        throw refusal(400, "State contains an invalid node: '" + key + "'");
    if (document.contains("version") && document["version"] != version_)
      throw refusal(409, "Version conflict");
    if (deleted_) desired_ = reported_ = json::object();
    deleted_ = false;
    merge(desired_, state->value("desired", json()));
    merge(reported_, state->value("reported", json()));
    ++version_;
    return {{"state", *state}, {"version", version_}};
  }

  json remove(const std::string& name) {
    if (version_ == 0 || deleted_) throw refusal(404, "No shadow exists with name: '" + name + "'");
    deleted_ = true;
    return {{"version", version_}};
  }

  // What is desired and not reported.
  json difference() const {
    json delta = json::object();
    for (const auto& [key, value] : desired_.items())
      if (!reported_.contains(key) || reported_[key] != value) delta[key] = value;
    return delta;
  }

  json sections() const {
    json state = json::object();
    if (!desired_.empty()) state["desired"] = desired_;
    if (!reported_.empty()) state["reported"] = reported_;
    return state;
  }

  int version() const { return version_; }

  struct Refusal {
    int code;
    std::string message;
  };
  static Refusal refusal(int code, std::string message) { return {code, std::move(message)}; }

 private:
  static void merge(json& section, const json& change) {
    if (change.is_object()) section.merge_patch(change);  // null removes, as RFC 7386 has it
  }

  json desired_ = json::object();
  json reported_ = json::object();
  int version_ = 0;
  bool deleted_ = false;
};

// $aws/things/THING/shadow/[name/NAME/]OPERATION
struct ShadowTopic {
  std::string prefix;  // up to the slash before OPERATION
  std::string name;    // for messages
  std::string operation;
};

std::optional<ShadowTopic> shadow_topic(const std::string& topic) {
  if (!begins_with(topic, "$aws/things/")) return std::nullopt;
  const auto shadow = topic.find("/shadow/");
  const auto slash = topic.rfind('/');
  if (shadow == std::string::npos || slash < shadow + 7) return std::nullopt;
  ShadowTopic parts{topic.substr(0, slash), topic.substr(12, shadow - 12), topic.substr(slash + 1)};
  const std::string between = parts.prefix.substr(shadow + 7);
  if (begins_with(between, "/name/"))
    parts.name += "~" + between.substr(6);
  else if (!between.empty())
    return std::nullopt;
  if (parts.operation != "get" && parts.operation != "update" && parts.operation != "delete")
    return std::nullopt;
  return parts;
}

class AwsCloud final : public Cloud {
 public:
  explicit AwsCloud(const Options& options)
      : policy_(IotPolicy::parse(read_file(option(options, "policy")), option(options, "region"),
                                 option(options, "account"))),
        things_(option(options, "things")) {
    if (options.count("fleet") == 0) return;
    fleet_.emplace(options);
    claim_policy_ = IotPolicy::parse(read_file(option(options, "claim_policy")),
                                     option(options, "region"), option(options, "account"));
  }

  std::string connect(const Client& client) override {
    if (client.is_operator) return {};
    if (!is_claim(client) && !things_of(client))
      return "the certificate is not registered or not active";
    if (fleet_) fleet_->connected(client);
    if (client.over_http) return {};
    if (client.id.empty() || client.id.size() > kMaxClientId) return "the length of the client id";
    if (client.keep_alive > kMaxKeepAlive) return "keep-alive";
    return ask("iot:Connect", "client/" + client.id, client);
  }

  std::string publish(const Client& client, const Publication& message) override {
    if (client.is_operator) return {};
    if (client.over_http && begins_with(message.topic, kRoleAlias))
      return credentials(client, message.topic.substr(kRoleAlias.size()));
    if (message.qos > 1) return "QoS 2";
    if (message.payload.size() > kMaxPayload) return "more than 128 KB of payload";
    if (auto why = check_topic(message.topic); !why.empty()) return why;
    if (message.retain)
      if (auto why = ask("iot:RetainPublish", "topic/" + message.topic, client); !why.empty())
        return why;
    return ask("iot:Publish", "topic/" + message.topic, client);
  }

  std::string subscribe(const Client& client, const std::string& filter, int qos) override {
    if (client.is_operator) return {};
    if (client.over_http) return "HTTP";
    if (qos > 1) return "QoS 2";
    if (auto why = check_topic(filter); !why.empty()) return why;
    if (begins_with(filter, "$aws/rules/")) return "basic ingest";
    return ask("iot:Subscribe", "topicfilter/" + without_share(filter), client);
  }

  std::string receive(const Client& client, const std::string& topic) override {
    if (client.is_operator) return {};
    return ask("iot:Receive", "topic/" + topic, client);
  }

  std::string step_of(const Publication& message) const override {
    return fleet_ ? Fleet::step_of(message.topic) : "";
  }

  void refuse(const Client&, const Publication& message, int status, const Send& send) override {
    Fleet::refuse(message, status, send);
  }

  void published(const Client& client, const Publication& message, const Send& send) override {
    if (fleet_ && fleet_->published(client, message, send)) return;
    const auto topic = shadow_topic(message.topic);
    if (!topic) return;
    const auto answer = [&](const std::string& end, json document) {
      document["timestamp"] = std::time(nullptr);
      send({}, topic->prefix + "/" + topic->operation + "/" + end, document.dump());
    };
    json document =
        message.payload.empty() ? json::object() : json::parse(message.payload, nullptr, false);
    json token = json::object();  // an answer carries the request's clientToken
    if (document.is_object() && document.contains("clientToken"))
      token["clientToken"] = document["clientToken"];
    try {
      if (message.payload.size() > kMaxShadow)
        throw Shadow::refusal(413, "The payload exceeds the maximum size allowed");
      if (!document.is_object()) throw Shadow::refusal(400, "Payload contains invalid json");
      json accepted = apply(*topic, document, answer);
      accepted.update(token);
      answer("accepted", accepted);
      tell_change(*topic, answer);
    } catch (const Shadow::Refusal& refused) {
      json rejected = {{"code", refused.code}, {"message", refused.message}};
      rejected.update(token);
      answer("rejected", rejected);
    }
  }

 private:
  std::string ask(const char* action, const std::string& resource, const Client& client) const {
    Variables variables;
    if (!client.over_http) {
      variables["iot:ClientId"] = client.id;
      // "Thing policy variables": the thing whose name is the client id, if it has the certificate.
      const auto attached = things_of(client).value_or(std::vector<std::string>());
      if (std::find(attached.begin(), attached.end(), client.id) != attached.end())
        variables["iot:Connection.Thing.ThingName"] = client.id;
    }
    const IotPolicy& policy = is_claim(client) ? *claim_policy_ : policy_;
    if (policy.allows(action, resource, variables)) return {};
    return std::string("the policy does not allow ") + action + " on " + resource;
  }

  // What the HTTPS front asks for the credential provider: THING/ALIAS.
  std::string credentials(const Client& client, const std::string& asked) const {
    const auto slash = asked.find('/');
    const auto things = things_of(client).value_or(std::vector<std::string>());
    if (std::find(things.begin(), things.end(), asked.substr(0, slash)) == things.end())
      return "the certificate is not that of the thing";
    return ask("iot:AssumeRoleWithCertificate", "rolealias/" + asked.substr(slash + 1), client);
  }

  bool is_claim(const Client& client) const { return fleet_ && fleet_->is_claim(client); }

  // What the certificate is attached to; nothing where it is not registered and active.
  std::optional<std::vector<std::string>> things_of(const Client& client) const {
    const json things = json::parse(read_file(things_));
    if (things.contains(client.identity))
      return things.at(client.identity).get<std::vector<std::string>>();
    return fleet_ ? fleet_->things_of(client) : std::nullopt;
  }

  static std::string without_share(const std::string& filter) {
    if (!begins_with(filter, "$share/")) return filter;
    return filter.substr(filter.find('/', 7) + 1);
  }

  template <typename Answer>
  json apply(const ShadowTopic& topic, const json& document, const Answer&) {
    Shadow& shadow = shadows_[topic.prefix];
    if (topic.operation == "get") return shadow.get(topic.name);
    if (topic.operation == "delete") return shadow.remove(topic.name);
    before_ = {{"state", shadow.sections()}, {"version", shadow.version()}};
    return shadow.update(document);
  }

  template <typename Answer>
  void tell_change(const ShadowTopic& topic, const Answer& answer) {
    if (topic.operation != "update") return;
    const Shadow& shadow = shadows_[topic.prefix];
    if (const json delta = shadow.difference(); !delta.empty())
      answer("delta", {{"state", delta}, {"version", shadow.version()}});
    answer("documents",
           {{"previous", before_},
            {"current", {{"state", shadow.sections()}, {"version", shadow.version()}}}});
  }

  const IotPolicy policy_;
  // A file, read for each question: common names of certificates, and the things of each.
  const std::string things_;
  std::optional<Fleet> fleet_;
  std::optional<IotPolicy> claim_policy_;
  std::map<std::string, Shadow> shadows_;
  json before_;
};

}  // namespace

std::unique_ptr<Cloud> make_aws_cloud(const Options& options) {
  return std::make_unique<AwsCloud>(options);
}

}  // namespace hwid::stand_in
