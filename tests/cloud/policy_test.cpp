#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "cloud/stand_in.h"
#include "tools/hwid/aws/iot_policy.h"

using hwid::tool::aws::IotPolicy;
using hwid::tool::aws::Variables;
using nlohmann::json;

namespace {

IotPolicy policy_of(const std::string& text) {
  return IotPolicy::parse(text, "eu-central-1", "123456789012");
}

json statement(const std::string& effect, const json& action, const json& resource) {
  return {{"Effect", effect}, {"Action", action}, {"Resource", resource}};
}

IotPolicy policy_of(const json& statements) {
  return policy_of(json({{"Version", "2012-10-17"}, {"Statement", statements}}).dump());
}

std::string arn(const std::string& resource) {
  return "arn:aws:iot:eu-central-1:123456789012:" + resource;
}

}  // namespace

TEST_CASE("iot_policy: wildcards, and MQTT's own as characters") {
  const auto allows = [](const std::string& pattern, const std::string& resource) {
    return policy_of(json::array({statement("Allow", "iot:Publish", arn(pattern))}))
        .allows("iot:Publish", resource, {});
  };
  CHECK(allows("topic/a/*", "topic/a/b/c"));
  CHECK(allows("topic/a/*", "topic/a/"));
  CHECK_FALSE(allows("topic/a/*", "topic/a"));
  CHECK(allows("topic/a*z", "topic/a/b/z"));
  CHECK(allows("topic/*a*b", "topic/xaayaab"));
  CHECK_FALSE(allows("topic/*a*b", "topic/xaayaabc"));
  CHECK(allows("topic/a?c", "topic/abc"));
  CHECK_FALSE(allows("topic/a?c", "topic/ac"));
  CHECK_FALSE(allows("topic/+", "topic/a"));
  CHECK_FALSE(allows("topic/#", "topic/a"));
  CHECK(allows("topic/a${*}", "topic/a*"));
  CHECK_FALSE(allows("topic/a${*}", "topic/ab"));
  CHECK_FALSE(allows("client/a", "topic/a"));
}

TEST_CASE("iot_policy: a Deny wins, another account is another device") {
  const auto denied = policy_of(json::array(
      {statement("Allow", "iot:*", "*"), statement("Deny", "iot:Publish", arn("topic/b"))}));
  CHECK(denied.allows("iot:Publish", "topic/a", {}));
  CHECK_FALSE(denied.allows("iot:Publish", "topic/b", {}));
  CHECK(denied.allows("iot:Receive", "topic/b", {}));
  const auto foreign = policy_of(json::array(
      {statement("Allow", "iot:Publish", "arn:aws:iot:eu-central-1:999999999999:topic/a")}));
  CHECK_FALSE(foreign.allows("iot:Publish", "topic/a", {}));
}

TEST_CASE("iot_policy: variables, and values that look like wildcards") {
  const auto policy = policy_of(json::array(
      {statement("Allow", "iot:Publish", arn("topic/${iot:Connection.Thing.ThingName}/x"))}));
  const Variables line_7 = {{"iot:Connection.Thing.ThingName", "line-7"}};
  CHECK(policy.allows("iot:Publish", "topic/line-7/x", line_7));
  CHECK_FALSE(policy.allows("iot:Publish", "topic/line-8/x", line_7));
  CHECK_FALSE(policy.allows("iot:Publish", "topic//x", {}));
  CHECK_FALSE(
      policy.allows("iot:Publish", "topic/line-7/x", {{"iot:Connection.Thing.ThingName", "*"}}));
}

TEST_CASE("iot_policy: what the cloud, or the stand-in, does not know is refused") {
  const json good = statement("Allow", "iot:Publish", arn("topic/a"));
  const auto changed = [&](const char* key, const json& value) {
    json copy = good;
    copy[key] = value;
    return json::array({copy});
  };
  CHECK_NOTHROW(policy_of(json::array({good})));
  CHECK_THROWS(policy_of(std::string("{}")));
  CHECK_THROWS(policy_of(std::string("no JSON")));
  CHECK_THROWS(policy_of(changed("Effect", "allow")));
  CHECK_THROWS(policy_of(changed("Action", "iot:Pubish")));
  CHECK_THROWS(policy_of(changed("Action", 1)));
  CHECK_THROWS(policy_of(changed("Resource", "topic/a")));
  CHECK_THROWS(policy_of(changed("Resource", arn("topics/a"))));
  CHECK_THROWS(policy_of(changed("Condition", json::object())));
}

TEST_CASE("iot_policy: the example allows what it says, and no more") {
  const auto policy = policy_of(hwid::test::conf_file("aws-iot-policy.json"));
  const Variables me = {{"iot:ClientId", "line-7"}, {"iot:Connection.Thing.ThingName", "line-7"}};
  const std::string topic = "mqtt-mtls-pkcs-test-topic/";
  CHECK(policy.allows("iot:Connect", "client/line-7", me));
  CHECK(policy.allows("iot:Publish", "topic/" + topic + "req", me));
  CHECK(policy.allows("iot:Subscribe", "topicfilter/" + topic + "resp", me));
  CHECK(policy.allows("iot:Receive", "topic/" + topic + "resp", me));
  CHECK(policy.allows("iot:Publish", "topic/$aws/things/line-7/shadow/name/a/update", me));
  CHECK_FALSE(policy.allows("iot:Connect", "client/line-8", me));
  CHECK_FALSE(policy.allows("iot:Connect", "client/line-7", {}));
  CHECK_FALSE(policy.allows("iot:Publish", "topic/" + topic + "resp", me));
  CHECK_FALSE(policy.allows("iot:Subscribe", "topicfilter/" + topic + "req", me));
  CHECK_FALSE(policy.allows("iot:Subscribe", "topicfilter/#", me));
  CHECK_FALSE(policy.allows("iot:Publish", "topic/$aws/things/line-8/shadow/update", me));
  CHECK_FALSE(policy.allows("iot:RetainPublish", "topic/" + topic + "req", me));
}
