#include "transport/cloud/aws_policy.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "transport/cloud/aws_provisioning.h"
#include "transport/endpoint.h"
#include "transport/scheme_options.h"

namespace hwid::transport::aws {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kThing = "${iot:Connection.Thing.ThingName}";
constexpr std::size_t kAccountDigits = 12;

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

std::string arn_prefix(const Account& account) {
  const auto all_of = [](const std::string& text, auto good) {
    return !text.empty() && std::all_of(text.begin(), text.end(), good);
  };
  if (account.id.size() != kAccountDigits ||
      !all_of(account.id, [](unsigned char c) { return c >= '0' && c <= '9'; }))
    throw Error(ErrorKind::usage, "policy", account.id, "an account of AWS has 12 digits",
                "`aws sts get-caller-identity` says it");
  if (!all_of(account.region, [](unsigned char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
      }))
    throw Error(ErrorKind::usage, "policy", account.region, "this is no region of AWS",
                "write one such as eu-central-1");
  const char* partition = account.region.rfind("cn-", 0) == 0       ? "aws-cn"
                          : account.region.rfind("us-gov-", 0) == 0 ? "aws-us-gov"
                                                                    : "aws";
  return std::string("arn:") + partition + ":iot:" + account.region + ":" + account.id + ":";
}

// A name as it is, whose characters a policy would take for wildcards or a variable.
std::string literal(const std::string& text) {
  std::string escaped;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    const bool begins_variable = c == '$' && at + 1 < text.size() && text[at + 1] == '{';
    if (c == '*' || c == '?' || begins_variable)
      escaped.append("${").append(1, c).append("}");
    else
      escaped += c;
  }
  return escaped;
}

// Level by level, each changed by `change`.
template <typename Change>
std::string by_level(const std::string& topic, Change change) {
  std::string changed;
  for (std::size_t begin = 0;;) {
    const auto slash = topic.find('/', begin);
    changed += change(topic.substr(begin, slash - begin));
    if (slash == std::string::npos) return changed;
    changed += '/';
    begin = slash + 1;
  }
}

// The resources of one device, or of each thing of a fleet.
class Names {
 public:
  Names(const DeviceConfig& config, For whom) : config_(config), is_fleet_(whom == For::fleet) {}

  std::string client() const { return is_fleet_ ? kThing : literal(config_.client_id); }

  // MQTT's wildcards are characters like others: what a filter is asked for.
  std::string filter(const std::string& filter) const {
    return by_level(without_share(filter), [&](const std::string& level) { return name(level); });
  }

  // What a filter lets through. A policy knows no levels.
  std::string received(const std::string& filter) const {
    return by_level(without_share(filter), [&](const std::string& level) {
      return level == "+" || level == "#" ? std::string("*") : name(level);
    });
  }

 private:
  std::string name(const std::string& level) const {
    const bool is_own =
        !level.empty() && (level == config_.client_id || level == config_.thing_name);
    return is_fleet_ && is_own ? kThing : literal(level);
  }

  static std::string without_share(const std::string& filter) {
    constexpr std::string_view kShare = "$share/";
    if (filter.rfind(kShare, 0) != 0) return filter;
    const auto slash = filter.find('/', kShare.size());
    return slash == std::string::npos ? filter : filter.substr(slash + 1);
  }

  const DeviceConfig& config_;
  const bool is_fleet_;
};

Json statement(const char* sid, const Json& action, const Json& resource) {
  return {{"Sid", sid}, {"Effect", "Allow"}, {"Action", action}, {"Resource", resource}};
}

std::string policy_of(const Json& statements) {
  return Json({{"Version", "2012-10-17"}, {"Statement", statements}}).dump(2) + "\n";
}

}  // namespace

std::string region_of(const std::string& endpoint) {
  std::string host = parse_endpoint(endpoint).host;
  for (const char* end : {".amazonaws.com", ".amazonaws.com.cn"}) {
    if (!ends_with(host, end)) continue;
    host.erase(host.size() - std::string(end).size());
    const auto dot = host.rfind('.');
    const bool is_iot = dot != std::string::npos && ends_with(host.substr(0, dot), ".iot");
    return is_iot ? host.substr(dot + 1) : "";
  }
  return {};
}

std::string device_policy(const DeviceConfig& config, const Account& account, For whom) {
  const std::string arn = arn_prefix(account);
  if (whom == For::device && config.client_id.empty())
    refuse_option(config, "client-id", "the policy names it, and it is not given",
                  "write it, or ask for the policy of a fleet");
  const Names names(config, whom);
  Json all = Json::array();
  all.push_back(statement("Connect", "iot:Connect", arn + "client/" + names.client()));
  Json published = Json::array();
  for (const auto& topic : {config.topics_publish, config.will_topic})
    if (!topic.empty()) published.push_back(arn + "topic/" + names.filter(topic));
  if (!published.empty()) all.push_back(statement("Publish", "iot:Publish", published));
  const std::string& filter = config.topics_subscribe;
  if (!filter.empty()) {
    all.push_back(
        statement("Subscribe", "iot:Subscribe", arn + "topicfilter/" + names.filter(filter)));
    all.push_back(statement("Receive", "iot:Receive", arn + "topic/" + names.received(filter)));
  }
  if (!config.role_alias.empty())
    all.push_back(statement("TemporaryCredentials", "iot:AssumeRoleWithCertificate",
                            arn + "rolealias/" + literal(config.role_alias)));
  return policy_of(all);
}

std::string claim_policy(const DeviceConfig& config, const Account& account) {
  const std::string arn = arn_prefix(account);
  check_template_name(config);
  Json topics = Json::array();
  Json filters = Json::array();
  for (const std::string& path :
       {std::string(kCreateTopic), provision_topic(config.template_name)}) {
    topics.push_back(std::string(arn).append("topic/").append(path).append("*"));
    filters.push_back(std::string(arn).append("topicfilter/").append(path).append("/*"));
  }
  return policy_of(
      Json::array({statement("Connect", "iot:Connect", arn + "client/" + kClaimClient + "*"),
                   statement("AskAndHear", Json::array({"iot:Publish", "iot:Receive"}), topics),
                   statement("Subscribe", "iot:Subscribe", filters)}));
}

}  // namespace hwid::transport::aws
