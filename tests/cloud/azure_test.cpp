#include <doctest/doctest.h>
#include <hwid/azure.h>

#include <nlohmann/json.hpp>

#include "client.h"
#include "cloud/stand_in.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)
using nlohmann::json;

namespace {

constexpr std::chrono::seconds kSoon{10};

}  // namespace

TEST_CASE("azure: telemetry and messages to the device") {
  const AzureStandIn cloud;
  auto config = cloud.config("line-7");
  config.model_id = "dtmi:com:example:Thermostat;1";
  const auto transport = open(config);
  get(transport->connect());
  Messages messages;
  get(transport->subscribe(azure::cloud_to_device_filter("line-7"), Qos::at_least_once,
                           into(messages)));
  azure::HubMessage reading;
  reading.payload = R"({"temperature":21})";
  reading.content_type = "application/json";
  reading.properties = {{"alert", "no"}};
  get(transport->publish(azure::telemetry("line-7", reading)));
  CHECK(eventually([&] {
    return contains(cloud.log(),
                    "devices/line-7/messages/events/%24.ct=application%2Fjson&alert=no'");
  }));
  cloud.operate("devices/line-7/messages/devicebound/%24.mid=7&level=a%20b", "wake up");
  cloud.operate("devices/line-8/messages/devicebound/", "not for us");
  const auto seen = messages.wait_for(1);
  REQUIRE(seen.size() == 1);
  const auto message = azure::parse_cloud_to_device(seen[0]);
  REQUIRE(message);
  CHECK(message->payload == "wake up");
  CHECK(message->message_id == "7");
  CHECK(message->properties == azure::PropertyBag{{"level", "a b"}});
}

TEST_CASE("azure: the twin is got, reported to, and tells what is desired") {
  const AzureStandIn cloud;
  const auto transport = open(cloud.config("line-7"));
  const auto other = open(cloud.config("line-8"));
  get(transport->connect());
  get(other->connect());
  Messages desired;
  get(transport->subscribe(azure::desired_filter(), Qos::at_least_once, into(desired)));
  CHECK(
      get(transport->request(azure::twin_report(R"({"temperature":21})"), kSoon)).payload.empty());
  cloud.operate("operator/desired/line-7", R"({"interval":5})");
  const auto seen = desired.wait_for(1);
  REQUIRE(seen.size() == 1);
  const auto properties = azure::parse_desired(seen[0]);
  REQUIRE(properties);
  CHECK(properties->version == 2);
  CHECK(json::parse(properties->properties)["interval"] == 5);
  const auto twin = json::parse(get(transport->request(azure::twin_get(), kSoon)).payload);
  CHECK(twin["reported"]["temperature"] == 21);
  CHECK(twin["desired"]["interval"] == 5);
  const auto others = json::parse(get(other->request(azure::twin_get(), kSoon)).payload);
  CHECK_FALSE(others["reported"].contains("temperature"));
  Message broken = azure::twin_report("{}");
  broken.payload = "[";
  const auto error = error_text([&] { get(transport->request(broken, kSoon)); });
  CHECK_MESSAGE(contains(error, "status 400, 400, Invalid JSON"), error);
}

TEST_CASE("azure: a direct method is called and answered") {
  const AzureStandIn cloud;
  const auto transport = open(cloud.config("line-7"));
  get(transport->connect());
  Messages calls;
  get(transport->subscribe(azure::method_filter(), Qos::at_least_once, [&](const Message& message) {
    calls.add(message);
    if (const auto call = azure::parse_method_call(message))
      transport->publish(azure::method_response(*call, 200, R"({"done":true})"));
  }));
  cloud.operate("operator/method/line-7/reboot/a1", R"({"in":5})");
  const auto seen = calls.wait_for(1);
  REQUIRE(seen.size() == 1);
  const auto call = azure::parse_method_call(seen[0]);
  REQUIRE(call);
  CHECK(call->name == "reboot");
  CHECK(call->payload == R"({"in":5})");
  CHECK(eventually([&] { return contains(cloud.log(), "'$iothub/methods/res/200/?$rid=a1'"); }));
}

TEST_CASE("azure: another device's certificate is no way in") {
  const AzureStandIn cloud;
  auto config = cloud.config("line-8");
  config.client_id = "line-7";
  CHECK_MESSAGE(contains(connect_error(config), "refused"), connect_error(config));
}
