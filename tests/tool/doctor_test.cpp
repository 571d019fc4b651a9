// The doctor's table of causes, and what it makes of misspelt words.
#include <doctest/doctest.h>

#include <set>
#include <string>

#include "provider/core/error.h"
#include "tools/hwid/aws/iot_policy.h"
#include "tools/hwid/doctor/cause.h"
#include "tools/hwid/doctor/network_causes.h"
#include "tools/openssl_conf/known_keys.h"

using namespace hwid::tool::doctor;
using hwid::openssl_conf::known_keys;
using hwid::openssl_conf::nearest;
using hwid::openssl_conf::SectionKind;

TEST_CASE("doctor: a cause has a name of its own, all its words, and silences nothing before it") {
  std::set<std::string> ids;
  Probe last = Probe::kGreengrass;
  for (const Cause& cause : causes()) {
    CAPTURE(cause.id);
    CHECK(ids.insert(cause.id).second);
    CHECK_FALSE(std::string(cause.cause).empty());
    CHECK_FALSE(std::string(cause.evidence).empty());
    CHECK_FALSE(std::string(cause.fix).empty());
    CHECK_FALSE(std::string(cause.cause).ends_with('.'));
    CHECK(last <= cause.probe);
    last = cause.probe;
    for (unsigned probe = 0; probe < static_cast<unsigned>(cause.probe); ++probe) {
      const bool all = cause.silences.has(Probe::kConfFile);
      CHECK((all || !cause.silences.has(static_cast<Probe>(probe))));
    }
    CHECK((cause.weight == Weight::kBroken || !cause.silences.has(kLastProbe)));
    CHECK(&cause_of(cause.id) == &cause);
    CHECK_FALSE(std::string(title_of(cause.probe)).empty());
  }
  CHECK_THROWS_AS(cause_of("no-such-cause"), hwid::core::Error);
}

TEST_CASE("doctor: every diagnosis of the transport, and every answer of a broker, has a row") {
  using hwid::transport::Cause;
  for (int number = static_cast<int>(Cause::none) + 1; number <= static_cast<int>(Cause::other);
       ++number) {
    const auto cause = static_cast<Cause>(number);
    CAPTURE(hwid::transport::name_of(cause));
    const std::string id = id_of_diagnosis(cause);
    CHECK((id != "tls-fails" || cause == Cause::other));
    CHECK_NOTHROW(cause_of(id));
  }
  for (int number = 1; number <= static_cast<int>(MqttFault::kSubscribeRefused); ++number)
    CHECK_NOTHROW(cause_of(id_of_fault(static_cast<MqttFault>(number))));
}

TEST_CASE("doctor: texts are filled, and what has no value stays") {
  CHECK(filled("{a} and {b}", {{"a", "x{b}"}, {"b", "y"}}) == "x{b} and y");
  CHECK(filled("{none} {'none'} {", {}) == "{none} {'none'} {");
  CHECK(filled("ldd {'a'} {a}", {{"a", "/opt/x.so"}}) == "ldd /opt/x.so /opt/x.so");
  CHECK(filled("ldd {'a'}", {{"a", "/opt/it's mine"}}) == "ldd '/opt/it'\\''s mine'");
  CHECK(filled("ldd {'a'}", {{"a", ""}}) == "ldd ''");
  CHECK(markdown().find('{') == std::string::npos);
}

TEST_CASE("nearest: the word that was meant, and none where nothing is near") {
  const auto backend = known_keys(SectionKind::kPkcs11);
  CHECK(nearest("pin_source", backend) == "pin-source");
  CHECK(nearest("PIN-SOURCE", backend) == "pin-source");
  CHECK(nearest("pinsource", backend) == "pin-source");
  CHECK(nearest("modlue", backend) == "module");
  CHECK(nearest("max-session", backend) == "max-sessions");
  CHECK_FALSE(nearest("module", backend));
  CHECK_FALSE(nearest("colour", backend));
  CHECK_FALSE(nearest("", backend));
  CHECK_FALSE(nearest("x", backend));
  CHECK(nearest("backend", known_keys(SectionKind::kProvider)) == "backends");
  CHECK(nearest("ojects", known_keys(SectionKind::kTpm2)) == "objects");
}

namespace {

hwid::tool::aws::IotPolicy in_force(const std::string& statements, const std::string& region = "") {
  return hwid::tool::aws::IotPolicy::parse_in_force(
      R"({"Version": "2012-10-17", "Statement": [)" + statements + "]}", region);
}

// With CONDITION for a condition, empty for none.
std::string statement(const std::string& effect, const std::string& resource,
                      const std::string& condition) {
  return R"({"Effect": ")" + effect + R"(", "Action": "iot:Connect", "Resource": ")" + resource +
         R"(")" + (condition.empty() ? "" : R"(, "Condition": )" + condition) + "}";
}

}  // namespace

TEST_CASE("doctor: a policy in force is where its resources are, or where the device is") {
  const auto arn = [](const std::string& resource, const std::string& region) {
    return in_force(statement("Allow", resource, ""), region).arn_of("client/a");
  };
  CHECK(arn("*", "") == "arn:aws:iot:REGION:ACCOUNT:client/a");
  CHECK(arn("*", "eu-west-1") == "arn:aws:iot:eu-west-1:ACCOUNT:client/a");
  CHECK(arn("arn:aws-cn:iot:cn-north-1:12:client/x", "") ==
        "arn:aws-cn:iot:cn-north-1:12:client/a");
  CHECK(arn("arn:aws:iot:*:12:*", "us-east-1") == "arn:aws:iot:us-east-1:12:client/a");
  // For another region than the device's.
  const std::string elsewhere = statement("Allow", "arn:aws:iot:us-east-1:12:*", "");
  CHECK(in_force(elsewhere).allows("iot:Connect", "client/a", {}));
  CHECK_FALSE(in_force(elsewhere, "eu-west-1").allows("iot:Connect", "client/a", {}));
}

TEST_CASE("doctor: conditions of a policy, and what cannot be told of them") {
  const hwid::tool::aws::Variables device = {{"iot:ClientId", "Line-7"},
                                             {"iot:Connection.Thing.IsAttached", "true"}};
  struct Case {
    const char* condition;
    bool holds;
  };
  for (
      const Case& one : {
          Case{R"({"Bool": {"iot:Connection.Thing.IsAttached": true}})", true},
          Case{R"({"Bool": {"iot:connection.thing.isattached": ["True"]}})", true},
          Case{R"({"Bool": {"iot:Connection.Thing.IsAttached": "false"}})", false},
          Case{R"({"StringEquals": {"iot:ClientId": ["a", "Line-7"]}})", true},
          Case{R"({"StringEquals": {"iot:ClientId": "line-7"}})", false},
          Case{R"({"StringEquals": {"iot:ClientId": "Line-*"}})", false},
          Case{R"({"StringEqualsIgnoreCase": {"iot:ClientId": "line-7"}})", true},
          Case{R"({"StringLike": {"iot:ClientId": "Line-?"}})", true},
          Case{R"({"StringNotLike": {"iot:ClientId": ["x*", "Line-*"]}})", false},
          Case{R"({"StringNotEqualsIfExists": {"iot:ClientId": "x"}})", true},
          Case{
              R"({"StringLike": {"iot:ClientId": "L*"}, "Bool": {"iot:Connection.Thing.IsAttached": false}})",
              false},
      }) {
    CAPTURE(one.condition);
    const auto allowed = in_force(statement("Allow", "*", one.condition));
    CHECK(allowed.allows("iot:Connect", "client/a", device) == one.holds);
    const auto denied =
        in_force(statement("Allow", "*", "") + "," + statement("Deny", "*", one.condition));
    CHECK(denied.allows("iot:Connect", "client/a", device) != one.holds);
    CHECK(allowed.not_evaluated(device).empty());
  }
  const std::string doubtful = R"({"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}})";
  for (const auto& policy :
       {in_force(statement("Allow", "*", doubtful)),
        in_force(statement("Allow", "*", "") + "," + statement("Deny", "*", doubtful))}) {
    CHECK(policy.allows("iot:Connect", "client/a", device));
    CHECK(policy.not_evaluated(device) == std::set<std::string>{"IpAddress aws:SourceIp"});
  }
  const auto by_name =
      in_force(statement("Allow", "arn:aws:iot:*:*:client/${iot:Certificate.SerialNumber}-x", ""));
  CHECK(by_name.allows("iot:Connect", "client/7-x", device));
  CHECK_FALSE(by_name.allows("iot:Connect", "client/7-y", device));
  CHECK(by_name.not_evaluated(device) == std::set<std::string>{"${iot:Certificate.SerialNumber}"});
  CHECK_THROWS(in_force(statement("Allow", "*", R"({"Bool": 5})")));
  CHECK_THROWS(in_force(statement("Allow", "*", R"({"Bool": {"a": {}}})")));
}
