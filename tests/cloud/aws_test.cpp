#include <doctest/doctest.h>
#include <hwid/aws.h>

#include <nlohmann/json.hpp>

#include "client.h"
#include "cloud/stand_in.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)
using nlohmann::json;

namespace {

constexpr std::chrono::seconds kSoon{10};
const std::string kTopic = "mqtt-mtls-pkcs-test-topic/";

json policy() { return json::parse(conf_file("aws-iot-policy.json")); }

// The example without the statement of that Sid.
std::string policy_without(const std::string& sid) {
  json document = policy();
  json kept = json::array();
  for (const auto& statement : document["Statement"])
    if (statement["Sid"] != sid) kept.push_back(statement);
  REQUIRE(kept.size() + 1 == document["Statement"].size());
  document["Statement"] = kept;
  return document.dump();
}

// What the transport says when it sends a request as the example policy foresees.
std::string exchange_error(const AwsStandIn& cloud, const DeviceConfig& config) {
  return error_text([&] {
    Messages messages;
    const auto transport = open(config);
    get(transport->connect());
    get(transport->subscribe(kTopic + "resp", Qos::at_least_once, into(messages)));
    get(transport->publish({kTopic + "req", "x"}));
    cloud.operate(kTopic + "resp", "answer");
    if (messages.wait([](const auto& seen) { return !seen.empty(); }).empty())
      throw Error(ErrorKind::timeout, "receive", kTopic, "nothing came");
  });
}

}  // namespace

TEST_CASE("aws: the example policy lets the example device work, over both ports and versions") {
  const AwsStandIn cloud;
  for (const auto version : {MqttVersion::v3_1_1, MqttVersion::v5}) {
    auto config = cloud.config("line-7");
    config.mqtt_version = version;
    CHECK(exchange_error(cloud, config) == "no error");
  }
  auto config = cloud.config("line-7");
  config.alpn = {"x-amzn-mqtt-ca"};  // what the profile adds on port 443
  config.endpoint = "mqtts://localhost:" + std::to_string(cloud.port_443());
  CHECK(exchange_error(cloud, config) == "no error");
  config.alpn.clear();
  CHECK(exchange_error(cloud, config) != "no error");
}

TEST_CASE("aws: a policy that forgets a permission is noticed, and the error names it") {
  const std::pair<const char*, const char*> cases[] = {{"ConnectAsItself", "connect"},
                                                       {"SubscribeToAnswers", "subscribe"}};
  for (const auto& item : cases) {
    const AwsStandIn cloud(policy_without(item.first));
    const auto error = exchange_error(cloud, cloud.config("line-7"));
    CHECK_MESSAGE(contains(error, item.second), (std::string(item.first) + ": " + error));
    CHECK_MESSAGE(contains(error, "refused"), error);
  }
  const AwsStandIn cloud(policy_without("SendRequests"));
  auto config = cloud.config("line-7");
  config.mqtt_version = MqttVersion::v5;
  const auto error = exchange_error(cloud, config);
  CHECK_MESSAGE(contains(error, "publish: " + kTopic + "req: the broker refused"), error);
}

TEST_CASE("aws: over MQTT 3.1.1 a forbidden publication ends the connection") {
  const AwsStandIn cloud(policy_without("SendRequests"));
  auto config = cloud.config("line-7");
  config.clean_session = true;
  const auto error = exchange_error(cloud, config);
  CHECK_MESSAGE(contains(error, "publish"), error);
}

TEST_CASE("aws: a thing's variables are another thing's no") {
  const AwsStandIn cloud;
  auto config = cloud.config("line-8");
  config.client_id = "line-7";
  CHECK_MESSAGE(contains(connect_error(config), "refused"), connect_error(config));
}

TEST_CASE("aws: shadows are got, updated and deleted, and tell what is desired") {
  const AwsStandIn cloud;
  for (const auto version : {MqttVersion::v3_1_1, MqttVersion::v5}) {
    for (const auto& shadow : {aws::Shadow("line-7"), aws::Shadow("line-7", "config")}) {
      auto config = cloud.config("line-7");
      config.mqtt_version = version;
      config.clean_session = true;
      const auto transport = open(config);
      get(transport->connect());
      const auto none = error_text([&] { get(transport->request(shadow.get(), kSoon)); });
      CHECK_MESSAGE(contains(none, "404, No shadow exists"), none);
      Messages deltas;
      get(transport->subscribe(shadow.delta_topic(), Qos::at_least_once, into(deltas)));
      get(transport->request(shadow.report(R"({"led":"off"})"), kSoon));
      get(transport->request(shadow.desire(R"({"led":"on"})"), kSoon));
      const auto seen = deltas.wait_for(1);
      REQUIRE(seen.size() == 1);
      const auto delta = aws::parse_shadow_delta(seen[0].payload);
      REQUIRE(delta);
      CHECK(delta->state == R"({"led":"on"})");
      const auto document = json::parse(get(transport->request(shadow.get(), kSoon)).payload);
      CHECK(document["state"]["reported"]["led"] == "off");
      CHECK(document["state"]["desired"]["led"] == "on");
      const auto old = error_text(
          [&] { get(transport->request(shadow.update(R"({"state":{},"version":1})"), kSoon)); });
      CHECK_MESSAGE(contains(old, "409, Version conflict"), old);
      get(transport->request(shadow.remove(), kSoon));
    }
  }
}

TEST_CASE("aws: many shadow requests at once each get their own answer") {
  const AwsStandIn cloud;
  const auto transport = open(cloud.config("line-7"));
  get(transport->connect());
  const aws::Shadow shadow("line-7");
  constexpr int kMany = 30;
  std::vector<std::future<Message>> answers;
  answers.reserve(kMany);
  for (int i = 0; i < kMany; ++i)
    answers.push_back(
        transport->request(shadow.report("{\"n\":" + std::to_string(i) + "}"), kSoon));
  for (int i = 0; i < kMany; ++i) {
    const auto answer = json::parse(get(std::move(answers[static_cast<std::size_t>(i)])).payload);
    CHECK(answer["state"]["reported"]["n"] == i);
  }
}
