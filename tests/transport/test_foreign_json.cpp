// JSON of others: whatever it is, it takes neither the stack nor the memory.
#include <doctest/doctest.h>

#include <string>

#include "transport/cloud/rules.h"
#include "transport/foreign_json.h"
#include "transport/mqtt/correlation.h"

using namespace hwid::transport;  // NOLINT(google-build-using-namespace)

namespace {

constexpr std::size_t kDeep = 200000;

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

}  // namespace

TEST_CASE("foreign_json: what is deep, long or none is discarded") {
  CHECK(parse_foreign_json(R"({"a":[1]})").is_object());
  CHECK(parse_foreign_json("7") == 7);
  for (const char* none : {"", "{", "nonsense", "[1,]", "\xff", "{} {}"})
    CHECK_MESSAGE(parse_foreign_json(none).is_discarded(), none);
  CHECK(parse_foreign_json(nested(kDeepestForeignJson)).is_array());
  CHECK(parse_foreign_json(std::string(kDeepestForeignJson, '[') + "7" +
                           std::string(kDeepestForeignJson, ']'))
            .is_array());
  CHECK(parse_foreign_json(nested(kDeepestForeignJson + 1)).is_discarded());
  CHECK(parse_foreign_json(nested(kDeep)).is_discarded());
  CHECK(parse_foreign_json("{\"a\":" + std::string(kDeep, '[')).is_discarded());
  CHECK(parse_foreign_json("\"" + std::string(kDeep, '[') + "\"").is_string());
  CHECK(parse_foreign_json("[1,2]", 5).is_array());
  CHECK(parse_foreign_json("[1,2]", 4).is_discarded());
  CHECK(parse_foreign_json(std::string(kMostForeignJson + 1, ' ') + "1").is_discarded());
}

TEST_CASE("foreign_json: a cloud that says no at great length has said no") {
  const std::string payload = R"({"message":)" + nested(kDeep) + "}";
  const auto refusal = [&](Profile profile, const std::string& topic, const std::string& answer) {
    DeviceConfig config;
    config.profile = profile;
    Message request{topic, "{}"};
    const mqtt_client::Correlation correlation(request, config);
    const Message no{answer, payload};
    return correlation.judge(mqtt_client::Arrival(no)).refused;
  };
  CHECK(refusal(Profile::aws, "$aws/certificates/create-from-csr/json",
                "$aws/certificates/create-from-csr/json/rejected") == "rejected without a reason");
  CHECK(refusal(Profile::azure, "$iothub/twin/GET/?$rid=1", "$iothub/twin/res/400/?$rid=1") ==
        "status 400");
}

TEST_CASE("foreign_json: another device's answer with a deep requestId is nobody's") {
  DeviceConfig config;
  config.mqtt_version = MqttVersion::v3_1_1;
  Message request{"a/req", R"({"requestId":1})"};
  const mqtt_client::Correlation correlation(request, config);
  const Message deep{"a/resp", R"({"requestId":)" + nested(kDeep) + "}"};
  const Message right{"a/resp", R"({"requestId":1})"};
  CHECK_FALSE(correlation.judge(mqtt_client::Arrival(deep)).matches);
  CHECK(correlation.judge(mqtt_client::Arrival(right)).matches);
}
