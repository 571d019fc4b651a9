#include <doctest/doctest.h>
#include <hwid/aws.h>
#include <hwid/azure.h>

#include <nlohmann/json.hpp>

#include "transport/cloud/rules.h"
#include "transport/cloud/url_encoding.h"
#include "transport/mqtt/correlation.h"

using namespace hwid::transport;  // NOLINT(google-build-using-namespace)
using mqtt_client::Correlation;
using nlohmann::json;

namespace {

cloud::Answer judged(const Correlation& correlation, const Message& message) {
  return correlation.judge(mqtt_client::Arrival(message));
}

template <typename Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

DeviceConfig device_of(Profile profile) {
  DeviceConfig config;
  config.endpoint = "mqtts://cloud.example";
  config.client_id = "line-7";
  config.profile = profile;
  config.cert = "/cert";
  config.key = "/key";
  return config;
}

std::string open_error(const DeviceConfig& config) {
  return error_of([&] { open(config); });
}

std::string publish_error(Profile profile, const Message& message) {
  return error_of([&] { cloud::check_publish(device_of(profile), message); });
}

std::string subscribe_error(Profile profile, const std::string& filter, Qos qos) {
  return error_of([&] { cloud::check_subscribe(device_of(profile), filter, qos); });
}

}  // namespace

TEST_CASE("cloud: what device.conf asks for and the cloud refuses is refused at open") {
  struct Case {
    Profile profile;
    const char* key;
    void (*change)(DeviceConfig& config);
  };
  const Case cases[] = {
      {Profile::aws, "key qos", [](DeviceConfig& c) { c.qos = Qos::exactly_once; }},
      {Profile::aws, "key client-id", [](DeviceConfig& c) { c.client_id = std::string(129, 'a'); }},
      {Profile::aws, "key keep-alive",
       [](DeviceConfig& c) { c.keep_alive = std::chrono::seconds(1201); }},
      {Profile::aws, "key keep-alive",
       [](DeviceConfig& c) { c.keep_alive = std::chrono::seconds(0); }},
      {Profile::aws, "key cert",
       [](DeviceConfig& c) {
         c.cert.clear();
         c.key.clear();
       }},
      {Profile::aws, "key will-topic", [](DeviceConfig& c) { c.will_topic = "a/b/c/d/e/f/g/h/i"; }},
      {Profile::azure, "key qos", [](DeviceConfig& c) { c.qos = Qos::exactly_once; }},
      {Profile::azure, "key mqtt-version",
       [](DeviceConfig& c) { c.mqtt_version = MqttVersion::v5; }},
      {Profile::azure, "key keep-alive",
       [](DeviceConfig& c) { c.keep_alive = std::chrono::seconds(1178); }},
      {Profile::azure, "key client-id", [](DeviceConfig& c) { c.client_id = "line 7"; }},
      {Profile::azure, "key client-id", [](DeviceConfig& c) { c.client_id = "line-7/"; }},
      {Profile::azure, "key client-id", [](DeviceConfig& c) { c.client_id = "line#7"; }},
      {Profile::azure, "key endpoint",
       [](DeviceConfig& c) { c.endpoint = "mqtts://cloud.example:443"; }},
      {Profile::azure, "key will-topic", [](DeviceConfig& c) { c.will_topic = "state"; }},
      {Profile::azure, "key cert",
       [](DeviceConfig& c) {
         c.cert.clear();
         c.key.clear();
       }},
  };
  for (const auto profile : {Profile::aws, Profile::azure, Profile::generic})
    CHECK(open_error(device_of(profile)) == "no error");
  for (const auto& item : cases) {
    auto config = device_of(item.profile);
    item.change(config);
    const auto error = open_error(config);
    CHECK_MESSAGE(contains(error, item.key), (std::string(item.key) + ": " + error));
    config.profile = Profile::generic;
    if (std::string(item.key) != "key mqtt-version" && config.client_id != "line-7/")
      CHECK_MESSAGE(open_error(config) == "no error", (std::string(item.key) + ": generic"));
  }
}

TEST_CASE("cloud: messages that the cloud refuses") {
  const auto aws = [](const Message& message) { return publish_error(Profile::aws, message); };
  CHECK(aws({"a/b", "x"}) == "no error");
  CHECK(aws({"a/b/c/d/e/f/g/h", "x"}) == "no error");
  CHECK(contains(aws({"a/b/c/d/e/f/g/h/i", "x"}), "7 slashes"));
  CHECK(aws({"$aws/rules/r/a/b/c/d/e/f/g/h", "x"}) == "no error");
  CHECK(aws({std::string(256, 'a'), "x"}) == "no error");
  CHECK(contains(aws({std::string(257, 'a'), "x"}), "256 bytes of topic"));
  CHECK(aws({"a", std::string(131072, 'x')}) == "no error");
  CHECK(contains(aws({"a", std::string(131073, 'x')}), "131072 bytes of payload"));
  CHECK(contains(aws({"a", "x", Qos::exactly_once}), "no QoS 2"));
  CHECK(contains(aws({"$mine/a", "x"}), "$aws/"));
  CHECK(aws({"$aws/things/t/shadow/get", ""}) == "no error");

  const auto azure = [](const Message& message) { return publish_error(Profile::azure, message); };
  CHECK(azure({"devices/line-7/messages/events/", "x"}) == "no error");
  CHECK(azure(azure::telemetry("line-7", {"x"})) == "no error");
  CHECK(azure(azure::twin_get()) == "no error");
  CHECK(azure(azure::twin_report("{}")) == "no error");
  CHECK(azure(azure::method_response({"reboot", "1", ""}, 200)) == "no error");
  CHECK(contains(azure({"devices/line-8/messages/events/", "x"}), "topics other than its own"));
  CHECK(contains(azure({"t/req", "x"}), "topics other than its own"));
  CHECK(contains(azure({"devices/line-7/messages/events/", std::string(256 * 1024 + 1, 'x')}),
                 "262144 bytes"));
  CHECK(contains(azure({"devices/line-7/messages/events/", "x", Qos::exactly_once}), "no QoS 2"));
  CHECK(publish_error(Profile::generic, {"a/b/c/d/e/f/g/h/i/j", "x", Qos::exactly_once}) ==
        "no error");
}

TEST_CASE("cloud: subscriptions that the cloud refuses") {
  constexpr auto kQos = Qos::at_least_once;
  CHECK(subscribe_error(Profile::aws, "a/#", kQos) == "no error");
  CHECK(subscribe_error(Profile::aws, "$share/group/a/#", kQos) == "no error");
  CHECK(subscribe_error(Profile::aws, aws::Shadow("t").delta_topic(), kQos) == "no error");
  CHECK(contains(subscribe_error(Profile::aws, "a", Qos::exactly_once), "no QoS 2"));
  CHECK(contains(subscribe_error(Profile::aws, "a/b/c/d/e/f/g/h/#", kQos), "7 slashes"));
  CHECK(contains(subscribe_error(Profile::aws, "$aws/rules/r/a", kQos), "rules only"));
  CHECK(contains(subscribe_error(Profile::aws, "$SYS/#", kQos), "$aws/"));
  CHECK(subscribe_error(Profile::azure, azure::cloud_to_device_filter("line-7"), kQos) ==
        "no error");
  for (const auto& own : {azure::desired_filter(), azure::method_filter()})
    CHECK(subscribe_error(Profile::azure, own, kQos) == "no error");
  CHECK(contains(subscribe_error(Profile::azure, "#", kQos), "topics other than its own"));
  CHECK(contains(subscribe_error(Profile::azure, "devices/line-8/messages/devicebound/#", kQos),
                 "topics other than its own"));
}

TEST_CASE("cloud: ALPN on port 443, and user names") {
  auto config = device_of(Profile::aws);
  using Names = std::vector<std::string>;
  CHECK(cloud::alpn_of(config, parse_endpoint("mqtts://h:443")) == Names{"x-amzn-mqtt-ca"});
  CHECK(cloud::alpn_of(config, parse_endpoint("https://h:443")) == Names{"x-amzn-http-ca"});
  CHECK(cloud::alpn_of(config, parse_endpoint("mqtts://h:8883")).empty());
  CHECK(cloud::user_name_of(config, parse_endpoint("mqtts://h")).empty());
  config.alpn = {"mine"};
  CHECK(cloud::alpn_of(config, parse_endpoint("mqtts://h:443")) == Names{"mine"});
  config = device_of(Profile::azure);
  const auto hub = parse_endpoint("mqtts://hub.azure-devices.net");
  CHECK(cloud::alpn_of(config, parse_endpoint("mqtts://h:443")).empty());
  CHECK(cloud::user_name_of(config, hub) == "hub.azure-devices.net/line-7/?api-version=2021-04-12");
  config.client_id = "line-7/camera";
  config.model_id = "dtmi:com:example:Camera;1";
  CHECK(cloud::user_name_of(config, hub) ==
        "hub.azure-devices.net/line-7/camera/?api-version=2021-04-12&model-id="
        "dtmi%3Acom%3Aexample%3ACamera%3B1");
}

TEST_CASE("cloud: percent-encoding there and back") {
  std::string bytes;
  for (int c = 0; c < 256; ++c) bytes += static_cast<char>(c);
  CHECK(cloud::url_decode(cloud::url_encode(bytes)) == bytes);
  CHECK(cloud::url_encode("a/b c~") == "a%2Fb%20c~");
  for (const char* odd : {"%", "%4", "%zz", "100%", "%-1"}) CHECK(cloud::url_decode(odd) == odd);
  CHECK(cloud::url_decode("%41%4") == "A%4");
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  CHECK(cloud::parse_query("a=1&b&&c=%3D") == Pairs{{"a", "1"}, {"b", ""}, {"c", "="}});
}

TEST_CASE("aws: a shadow's messages and answers") {
  const auto config = device_of(Profile::aws);
  for (const auto& shadow : {aws::Shadow("line-7"), aws::Shadow("line-7", "config")}) {
    Message request = shadow.get();
    const Correlation correlation(request, config);
    const auto token = json::parse(request.payload).at("clientToken").get<std::string>();
    CHECK(correlation.filters() ==
          std::vector<std::string>{request.topic + "/accepted", request.topic + "/rejected"});
    const auto answer = [&](const std::string& end, const json& payload) {
      return judged(correlation, {request.topic + end, payload.dump()});
    };
    CHECK(answer("/accepted", {{"clientToken", token}}).matches);
    CHECK(answer("/accepted", {{"clientToken", token}}).refused.empty());
    CHECK_FALSE(answer("/accepted", {{"clientToken", "other"}}).matches);
    CHECK_FALSE(answer("/accepted", json::object()).matches);
    CHECK_FALSE(answer("/documents", {{"clientToken", token}}).matches);
    const auto refused = answer(
        "/rejected", {{"clientToken", token}, {"code", 404}, {"message", "No shadow exists"}});
    CHECK(refused.matches);
    CHECK(refused.refused == "404, No shadow exists");
  }
  Message own{"$aws/things/t/shadow/update", R"({"clientToken":"mine","state":{}})"};
  const Correlation correlation(own, config);
  CHECK(own.payload == R"({"clientToken":"mine","state":{}})");
  CHECK(judged(correlation, {"$aws/things/t/shadow/update/accepted", R"({"clientToken":"mine"})"})
            .matches);
  const Message report = aws::Shadow("t", "s").report(R"({"a":1})");
  CHECK(report.topic == "$aws/things/t/shadow/name/s/update");
  CHECK(json::parse(report.payload) == json::parse(R"({"state":{"reported":{"a":1}}})"));
  CHECK(json::parse(aws::Shadow("t").desire(R"({"a":1})").payload) ==
        json::parse(R"({"state":{"desired":{"a":1}}})"));
  CHECK(contains(error_of([] { (void)aws::Shadow("t").report("[1]"); }), "no JSON object"));
  CHECK(contains(error_of([] { (void)aws::Shadow("a/b"); }), "thing's name"));
  CHECK(contains(error_of([] { (void)aws::Shadow("t", "a/b"); }), "shadow's name"));
}

TEST_CASE("aws: provisioning is asked in the same way, without a token") {
  Message request{"$aws/provisioning-templates/factory/provision/json", R"({"a":1})"};
  const Correlation correlation(request, device_of(Profile::aws));
  CHECK(request.payload == R"({"a":1})");
  CHECK(judged(correlation, {request.topic + "/accepted", "{}"}).refused.empty());
  CHECK(judged(correlation, {request.topic + "/rejected",
                             R"({"statusCode":400,"errorCode":"InvalidX","errorMessage":"empty"})"})
            .refused == "400, InvalidX, empty");
  Message ordinary{"t/req", R"({"requestId":1})"};
  CHECK(Correlation(ordinary, device_of(Profile::aws)).filters() ==
        std::vector<std::string>{"t/resp"});
}

TEST_CASE("aws: deltas and basic ingest") {
  const auto delta = aws::parse_shadow_delta(R"({"version":7,"state":{"a":1},"metadata":{}})");
  REQUIRE(delta);
  CHECK(delta->version == 7);
  CHECK(delta->state == R"({"a":1})");
  for (const char* bad : {"", "[]", "{}", R"({"version":"7","state":{}})"})
    CHECK_FALSE(aws::parse_shadow_delta(bad));
  CHECK(aws::basic_ingest_topic("r_1", "a/b") == "$aws/rules/r_1/a/b");
  CHECK_THROWS_AS(aws::basic_ingest_topic("r-1", "a"), Error);
}

TEST_CASE("azure: telemetry and messages to the device carry properties in the topic") {
  azure::HubMessage sent;
  sent.payload = "{}";
  sent.content_type = "application/json";
  sent.content_encoding = "utf-8";
  sent.message_id = "1 2";
  sent.properties = {{"alert", "a/b&c=d"}, {"plus", "+#"}};
  const Message message = azure::telemetry("line-7", sent);
  CHECK(message.topic ==
        "devices/line-7/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8&%24.mid=1%202"
        "&alert=a%2Fb%26c%3Dd&plus=%2B%23");
  CHECK(azure::telemetry("d/m", {}).topic == "devices/d/modules/m/messages/events/");
  CHECK_THROWS_AS(azure::telemetry("a#", {}), Error);
  CHECK_THROWS_AS(azure::telemetry("a", {"", "", "", "", "", {{"", "x"}}, {}}), Error);

  const auto parsed = azure::parse_cloud_to_device(
      {"devices/line-7/messages/devicebound/%24.mid=9&%24.to=%2Fdevices%2Fline-7&iothub-ack=full&"
       "a=b%20c&d",
       "hello"});
  REQUIRE(parsed);
  CHECK(parsed->payload == "hello");
  CHECK(parsed->message_id == "9");
  CHECK(parsed->system == azure::PropertyBag{{"$.to", "/devices/line-7"}, {"iothub-ack", "full"}});
  CHECK(parsed->properties == azure::PropertyBag{{"a", "b c"}, {"d", ""}});
  CHECK_FALSE(azure::parse_cloud_to_device({"devices/line-7/messages/events/", ""}));
}

TEST_CASE("azure: twin requests, desired properties and methods") {
  const auto config = device_of(Profile::azure);
  Message request = azure::twin_get();
  const Correlation correlation(request, config);
  CHECK(correlation.filters() == std::vector<std::string>{"$iothub/twin/res/#"});
  const std::string rid = request.topic.substr(std::string("$iothub/twin/GET/?$rid=").size());
  CHECK(rid.size() == 32);
  const auto judge = [&](const std::string& topic, const std::string& payload = {}) {
    return judged(correlation, {topic, payload});
  };
  CHECK(judge("$iothub/twin/res/200/?$rid=" + rid).matches);
  CHECK(judge("$iothub/twin/res/204/?$rid=" + rid + "&$version=4").matches);
  CHECK_FALSE(judge("$iothub/twin/res/200/?$rid=" + rid + "0").matches);
  CHECK_FALSE(judge("$iothub/twin/res/x/?$rid=" + rid).matches);
  CHECK(judge("$iothub/twin/res/429/?$rid=" + rid, R"({"errorCode":429001,"message":"slow"})")
            .refused == "status 429, 429001, slow");
  const auto wait_of = [&](const std::string& rest) {
    return judge("$iothub/twin/res/429/?$rid=" + rid + rest).retry_after.count();
  };
  CHECK(wait_of("&retry-after=7") == 7);
  for (const char* none : {"", "&retry-after=", "&retry-after=-1", "&retry-after=soon"})
    CHECK_MESSAGE(wait_of(none) == 0, none);
  Message report = azure::twin_report(R"({"a":1})");
  report.topic += "7";
  const Correlation own(report, config);
  CHECK(report.topic == "$iothub/twin/PATCH/properties/reported/?$rid=7");
  CHECK(judged(own, {"$iothub/twin/res/204/?$rid=7&$version=4", ""}).matches);
  CHECK_THROWS_AS(azure::twin_report("1"), Error);

  const auto desired =
      azure::parse_desired({"$iothub/twin/PATCH/properties/desired/?$version=5", R"({"a":2})"});
  REQUIRE(desired);
  CHECK(desired->version == 5);
  CHECK_FALSE(azure::parse_desired({"$iothub/twin/PATCH/properties/desired/", ""}));

  const auto call = azure::parse_method_call({"$iothub/methods/POST/reboot/?$rid=a1", "{}"});
  REQUIRE(call);
  CHECK(call->name == "reboot");
  CHECK(call->request_id == "a1");
  CHECK(azure::method_response(*call, 200, R"({"ok":true})").topic ==
        "$iothub/methods/res/200/?$rid=a1");
  CHECK_THROWS_AS(azure::method_response(*call, 200, "no JSON"), Error);
  for (const char* bad :
       {"$iothub/methods/POST/", "$iothub/methods/POST/x", "t", "$iothub/methods/POST/x/?$rid="})
    CHECK_FALSE(azure::parse_method_call({bad, ""}));
}
