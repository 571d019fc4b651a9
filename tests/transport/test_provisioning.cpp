// Policies from device.conf, and what of provisioning needs no server.
#include <doctest/doctest.h>
#include <hwid/device_config.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "fake_broker.h"
#include "pki.h"
#include "tools/hwid/aws/iot_policy.h"
#include "transport/cloud/aws_policy.h"
#include "transport/cloud/aws_provisioning.h"
#include "transport/cloud/azure_provisioning.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)
using hwid::tool::aws::IotPolicy;
using hwid::tool::aws::Variables;

namespace {

const aws::Account kAccount = {"eu-central-1", "123456789012"};

IotPolicy parsed(const std::string& policy) {
  return IotPolicy::parse(policy, kAccount.region, kAccount.id);
}

DeviceConfig device() {
  DeviceConfig config;
  config.client_id = "line-7";
  config.topics_publish = "line-7/req";
  config.topics_subscribe = "line-7/+/resp/#";
  config.will_topic = "state/line-7";
  config.role_alias = "device-role";
  return config;
}

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string text_of(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("aws_policy: what the device needs, and no more") {
  const auto policy = parsed(aws::device_policy(device(), kAccount, aws::For::device));
  CHECK(policy.allows("iot:Connect", "client/line-7", {}));
  CHECK_FALSE(policy.allows("iot:Connect", "client/line-8", {}));
  CHECK(policy.allows("iot:Publish", "topic/line-7/req", {}));
  CHECK(policy.allows("iot:Publish", "topic/state/line-7", {}));
  CHECK_FALSE(policy.allows("iot:Publish", "topic/line-7/resp", {}));
  CHECK_FALSE(policy.allows("iot:RetainPublish", "topic/line-7/req", {}));
  CHECK(policy.allows("iot:Subscribe", "topicfilter/line-7/+/resp/#", {}));
  CHECK_FALSE(policy.allows("iot:Subscribe", "topicfilter/line-7/a/resp/b", {}));
  CHECK_FALSE(policy.allows("iot:Subscribe", "topicfilter/#", {}));
  CHECK(policy.allows("iot:Receive", "topic/line-7/a/resp/b/c", {}));
  CHECK_FALSE(policy.allows("iot:Receive", "topic/line-7/a/req", {}));
  CHECK(policy.allows("iot:AssumeRoleWithCertificate", "rolealias/device-role", {}));
  CHECK_FALSE(policy.allows("iot:AssumeRoleWithCertificate", "rolealias/other", {}));
}

TEST_CASE("aws_policy: of a fleet each thing has its own, also in topics") {
  const auto policy = parsed(aws::device_policy(device(), kAccount, aws::For::fleet));
  const Variables line_9 = {{"iot:Connection.Thing.ThingName", "line-9"}};
  CHECK(policy.allows("iot:Connect", "client/line-9", line_9));
  CHECK_FALSE(policy.allows("iot:Connect", "client/line-7", line_9));
  CHECK(policy.allows("iot:Publish", "topic/line-9/req", line_9));
  CHECK_FALSE(policy.allows("iot:Publish", "topic/line-7/req", line_9));
  CHECK(policy.allows("iot:Receive", "topic/line-9/a/resp/b", line_9));
  CHECK_FALSE(policy.allows("iot:Connect", "client/line-9", {}));
}

TEST_CASE("aws_policy: names are no wildcards and no variables") {
  DeviceConfig config;
  config.client_id = "a*";
  config.topics_publish = "b?/${iot:ClientId}";
  config.topics_subscribe = "$share/group/c/+";
  const auto policy = parsed(aws::device_policy(config, kAccount, aws::For::device));
  CHECK(policy.allows("iot:Connect", "client/a*", {}));
  CHECK_FALSE(policy.allows("iot:Connect", "client/ab", {}));
  CHECK(policy.allows("iot:Publish", "topic/b?/${iot:ClientId}", {{"iot:ClientId", "x"}}));
  CHECK_FALSE(policy.allows("iot:Publish", "topic/bc/x", {{"iot:ClientId", "x"}}));
  CHECK(policy.allows("iot:Subscribe", "topicfilter/c/+", {}));
  CHECK(policy.allows("iot:Receive", "topic/c/d", {}));
}

TEST_CASE("aws_policy: a claim may do what provisioning does") {
  DeviceConfig config;
  config.template_name = "factory";
  const auto policy = parsed(aws::claim_policy(config, kAccount));
  const std::string create = "$aws/certificates/create-from-csr/json";
  const std::string provision = "$aws/provisioning-templates/factory/provision/json";
  for (const std::string& topic : {create, provision}) {
    CHECK(policy.allows("iot:Publish", "topic/" + topic, {}));
    CHECK(policy.allows("iot:Subscribe", "topicfilter/" + topic + "/accepted", {}));
    CHECK(policy.allows("iot:Receive", "topic/" + topic + "/rejected", {}));
  }
  CHECK(policy.allows("iot:Connect", "client/hwid-claim-0123", {}));
  CHECK_FALSE(policy.allows("iot:Connect", "client/line-7", {}));
  CHECK_FALSE(
      policy.allows("iot:Publish", "topic/$aws/provisioning-templates/other/provision/json", {}));
  CHECK(aws::claim_policy(config, kAccount) ==
        text_of(std::filesystem::path(HWID_TEST_CONF_DIR) / "aws-claim-policy.json"));
}

TEST_CASE("aws_policy: whose things they are") {
  CHECK(aws::region_of("mqtts://abc-ats.iot.eu-central-1.amazonaws.com:8883") == "eu-central-1");
  CHECK(aws::region_of("mqtts://abc.iot.cn-north-1.amazonaws.com.cn") == "cn-north-1");
  CHECK(aws::region_of("mqtts://localhost").empty());
  CHECK(aws::region_of("mqtts://iot.example").empty());
  const auto arn = [](const std::string& region) {
    return aws::device_policy(device(), {region, "123456789012"}, aws::For::device);
  };
  CHECK(contains(arn("cn-north-1"), "\"arn:aws-cn:iot:cn-north-1:123456789012:client/line-7\""));
  CHECK(contains(arn("us-gov-west-1"), "arn:aws-us-gov:iot:"));
  CHECK(contains(error_of([&] { arn("eu central"); }), "no region"));
  CHECK(contains(error_of([] {
                   aws::device_policy(device(), {"eu-central-1", "1"}, aws::For::fleet);
                 }),
                 "12 digits"));
  DeviceConfig nameless = device();
  nameless.client_id.clear();
  CHECK(contains(error_of([&] { aws::device_policy(nameless, kAccount, aws::For::device); }),
                 "client-id"));
}

TEST_CASE("aws_provisioning: the JSON of the way by hand") {
  const auto issued = aws::parse_issued("f", R"({"certificateId":"ab","certificatePem":"x",
      "certificateArn":"arn:aws:iot:eu-central-1:123456789012:cert/ab"})");
  CHECK(issued.certificate_id == "ab");
  CHECK(issued.certificate_arn == "arn:aws:iot:eu-central-1:123456789012:cert/ab");
  for (const char* bad :
       {"", "[]", "{}", "null", R"({"certificateId":"ab"})", R"({"certificateId":["a"]})",
        R"({"certificateId":"../a","certificatePem":"x"})", "{\"certificateId\":\"a\",\"certif"})
    CHECK_MESSAGE(contains(error_of([&] { aws::parse_issued("f", bad); }), "f: "), bad);
  CHECK(contains(error_of([&] { aws::check_issued_for(issued, "no request"); }),
                 "no PEM certificate"));
}

TEST_CASE("provisioning: a service that wants to be left alone is, as long as it says") {
  using Clock = std::chrono::steady_clock;
  using std::chrono::seconds;
  cloud::Patience patience;
  std::string told;
  patience.tell = [&](const std::string& text) { told += text; };
  int tries = 0;
  const auto busy_once = [&](seconds retry_after) {
    return [&, retry_after] {
      if (tries++ == 0) throw Error(ErrorKind::refused, "ask", "it", "busy", "", 429, retry_after);
    };
  };
  const auto begin = Clock::now();
  cloud::persist(patience, busy_once(seconds(1)));
  CHECK(Clock::now() - begin >= seconds(1));
  CHECK(tries == 2);
  CHECK(contains(told, "after the 1 s that the service asks for"));
  tries = 0;
  CHECK(contains(error_of([&] { cloud::persist(patience, busy_once(seconds(100000))); }), "busy"));
  CHECK(tries == 1);
}

TEST_CASE("provisioning: a broker that is busy is asked again, one that says no is not") {
  cloud::Patience patience;
  std::string told;
  patience.tell = [&](const std::string& text) { told += text; };
  const auto ask_of = [&](int version, int code) {
    FakeBroker broker([=](FakeBroker::Connection& connection, int number) {
      std::string refusal = {0, static_cast<char>(code)};
      if (version == 5) refusal += '\0';
      if (number == 1) return (void)connection.accept(packet(0x20, refusal));
      connection.accept(connack(version));
      connection.serve(version);
    });
    told.clear();
    const auto config = config_of(broker, version);
    const std::string error = error_of(
        [&] { cloud::persist(patience, [&] { const cloud::Questions questions(config); }); });
    return std::make_pair(error, broker.connections());
  };
  struct Refusal {
    int version;
    int code;
  };
  for (const Refusal& busy :
       std::vector<Refusal>{{4, 3}, {5, 0x88}, {5, 0x89}, {5, 0x97}, {5, 0x9f}}) {
    CAPTURE(busy.code);
    const auto [error, connections] = ask_of(busy.version, busy.code);
    CHECK(error == "no error");
    CHECK(connections == 2);
    CHECK(contains(told, "try again later; it is tried again"));
  }
  for (const Refusal& refusal : std::vector<Refusal>{{4, 5}, {5, 0x87}, {5, 0x8a}}) {
    CAPTURE(refusal.code);
    const auto [error, connections] = ask_of(refusal.version, refusal.code);
    CHECK(contains(error, "the broker refused"));
    CHECK(contains(error, "client id"));
    CHECK(connections == 1);
  }
}

TEST_CASE("azure_provisioning: who the device is") {
  const TemporaryDirectory directory;
  make_certificate(directory.path(), "line-7", "");
  make_certificate(directory.path(), "a b", "");
  DeviceConfig config;
  config.id_scope = "0ne00000000";
  config.cert = (directory / "line-7.pem").string();
  auto who = azure::registrant_of(config);
  CHECK(who.registration_id == "line-7");
  CHECK(who.endpoint == "mqtts://global.azure-devices-provisioning.net");
  config.registration_id = "line-7";
  config.dps_endpoint = "mqtts://here";
  who = azure::registrant_of(config);
  CHECK(who.endpoint == "mqtts://here");
  const auto error = [&] { return error_of([&] { azure::registrant_of(config); }); };
  config.registration_id = "line-8";
  CHECK(contains(error(), "common name is line-7"));
  config.registration_id.clear();
  config.cert = (directory / "a b.pem").string();
  CHECK(contains(error(), "registration-id"));
  config.cert.clear();
  CHECK(contains(error(), "knows a device by its certificate"));
  config.cert = (directory / "none.pem").string();
  CHECK(contains(error(), "No such file"));
  config.id_scope = "a/b";
  CHECK(contains(error(), "id-scope"));
}
