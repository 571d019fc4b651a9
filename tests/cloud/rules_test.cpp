// The stand-ins themselves: each rule broken once, by programs that know nothing of ours.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "client.h"
#include "cloud/stand_in.h"

using namespace hwid::test;  // NOLINT(google-build-using-namespace)

namespace {

using Arguments = std::vector<std::string>;

const std::string kTopic = "mqtt-mtls-pkcs-test-topic/req";
const std::string kAnswers = "mqtt-mtls-pkcs-test-topic/resp";
const std::string kHub = "localhost/line-7/?api-version=2021-04-12";

// mosquitto_pub tries again for ever where its connection is closed.
CommandResult within_time(const Arguments& command) {
  Arguments all = {"/usr/bin/timeout", "2"};
  all.insert(all.end(), command.begin(), command.end());
  return run_command(all);
}

template <typename Cloud>
CommandResult publish(const Cloud& cloud, const std::string& device, const Arguments& more) {
  return within_time(cloud.client(HWID_TEST_MOSQUITTO_PUB, device, more));
}

template <typename Cloud>
CommandResult subscribe(const Cloud& cloud, const std::string& device, const Arguments& more) {
  Arguments all = {"-W", "1"};
  all.insert(all.end(), more.begin(), more.end());
  return within_time(cloud.client(HWID_TEST_MOSQUITTO_SUB, device, all));
}

// `changes` replace or add to what a good publication of line-7 is given.
Arguments aws_publication(const std::string& topic, const Arguments& changes = {}) {
  Arguments all = {"-i", "line-7", "-q", "1", "-t", topic, "-m", "x"};
  all.insert(all.end(), changes.begin(), changes.end());
  return all;
}

}  // namespace

TEST_CASE("stand_in: AWS takes what follows its rules") {
  const AwsStandIn cloud;
  const auto sent = publish(cloud, "line-7", aws_publication(kTopic));
  CHECK_MESSAGE(sent.code == 0, (sent.err + cloud.log()));
  CHECK(publish(cloud, "line-7", aws_publication(kTopic, {"-V", "5"})).code == 0);
  CHECK(publish(cloud, "line-7", aws_publication(kTopic, {"-k", "1200"})).code == 0);
  const auto listening = subscribe(cloud, "line-7", {"-i", "line-7", "-q", "1", "-t", kAnswers});
  CHECK_MESSAGE(listening.code == 27, listening.err);  // nothing came in time
}

TEST_CASE("stand_in: AWS refuses each broken rule of MQTT") {
  const AwsStandIn cloud(
      R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"},
          {"Effect":"Deny","Action":"iot:Publish","Resource":
           "arn:aws:iot:eu-central-1:123456789012:topic/deny/*"},
          {"Effect":"Deny","Action":"iot:Connect","Resource":
           "arn:aws:iot:eu-central-1:123456789012:client/banned"}]})");
  struct Case {
    std::string rule;
    std::string device;
    Arguments arguments;
  };
  const std::string deep = "a/b/c/d/e/f/g/h/i";
  const Case cases[] = {
      {"unregistered certificate", "unregistered", aws_publication("t")},
      {"certificate of another CA", "stranger", aws_publication("t")},
      {"iot:Connect", "line-7", aws_publication("t", {"-i", "banned"})},
      {"length of the client id", "line-7", aws_publication("t", {"-i", std::string(129, 'a')})},
      {"iot:Publish", "line-7", aws_publication("deny/t")},
      {"QoS 2", "line-7", aws_publication("t", {"-q", "2"})},
      {"length of a topic", "line-7", aws_publication(std::string(257, 'a'))},
      {"levels of a topic", "line-7", aws_publication(deep)},
      {"reserved topics", "line-7", aws_publication("$mine/t")},
      {"keep-alive", "line-7", aws_publication("t", {"-k", "1201"})},
  };
  CHECK(publish(cloud, "line-7", aws_publication("t")).code == 0);
  for (const auto& item : cases)
    CHECK_MESSAGE(publish(cloud, item.device, item.arguments).code != 0, item.rule);
  write_file(cloud.file("large"), std::string(128 * 1024 + 1, 'x'));
  CHECK_MESSAGE(
      publish(cloud, "line-7", {"-i", "line-7", "-q", "1", "-t", "t", "-f", cloud.file("large")})
              .code != 0,
      "length of the payload");
  for (const Arguments& filter :
       {Arguments{"-t", deep}, Arguments{"-t", "$aws/rules/r/t"}, Arguments{"-t", "$SYS/#"}}) {
    Arguments all = {"-i", "line-7"};
    all.insert(all.end(), filter.begin(), filter.end());
    const auto refused = subscribe(cloud, "line-7", all);
    CHECK_MESSAGE(contains(refused.err, "denied"), (filter.back() + ": " + refused.err));
  }
}

TEST_CASE("stand_in: AWS wants a server name, and ALPN on port 443") {
  const AwsStandIn cloud;
  const auto good = [&](const Arguments& changes) {
    Arguments all = cloud.client(HWID_TEST_MOSQUITTO_PUB, "line-7", aws_publication(kTopic));
    all.insert(all.end(), changes.begin(), changes.end());
    return within_time(all).code == 0;
  };
  const std::string port = std::to_string(cloud.port_443());
  CHECK(good({}));
  CHECK(good({"-p", port, "--tls-alpn", "x-amzn-mqtt-ca"}));
  CHECK_FALSE(good({"-p", port}));
  CHECK_FALSE(good({"-p", port, "--tls-alpn", "mqtt"}));
  const auto handshake = [&](const std::string& name) {
    return run_command(
               {"/bin/sh", "-c",
                "openssl s_client -connect localhost:" + std::to_string(cloud.mqtts_port()) +
                    " -CAfile " + cloud.file("ca.pem") + " -cert " + cloud.file("line-7.pem") +
                    " -key " + cloud.file("line-7.key") + " " + name + " < /dev/null"})
               .code == 0;
  };
  CHECK(handshake("-servername localhost"));
  CHECK_FALSE(handshake("-noservername"));
}

TEST_CASE("stand_in: AWS's HTTPS takes what follows its rules, and nothing else") {
  const AwsStandIn cloud;
  const auto curl = [&](const std::string& device, const std::string& path,
                        const Arguments& more = {}) {
    Arguments all = {HWID_TEST_CURL,
                     "-q",
                     "-s",
                     "-w",
                     "%{http_code}",
                     "-o",
                     "/dev/null",
                     "--cacert",
                     cloud.file("ca.pem"),
                     "https://localhost:" + std::to_string(cloud.https().port()) + path};
    if (!device.empty()) {
      const Arguments identity = {"--cert", cloud.file(device + ".pem"), "--key",
                                  cloud.file(device + ".key")};
      all.insert(all.end(), identity.begin(), identity.end());
    }
    all.insert(all.end(), more.begin(), more.end());
    return run_command(all).out;
  };
  const Arguments data = {"-d", "x"};
  const std::string topic = "/topics/mqtt-mtls-pkcs-test-topic%2Freq";
  CHECK(curl("line-7", topic + "?qos=1", data) == "200");
  CHECK(curl("line-7", topic, data) == "200");
  CHECK(curl("line-7", topic + "?qos=2", data) == "400");
  CHECK(curl("line-7", topic + "?nonsense=1", data) == "400");
  CHECK(curl("line-7", "/topics/other?qos=1", data) == "403");
  CHECK(curl("unregistered", topic + "?qos=1", data) == "403");
  CHECK(curl("stranger", topic + "?qos=1", data) == "000");
  CHECK(curl("", topic + "?qos=1", data) == "000");
  CHECK(curl("line-7", "/", data) == "404");
  CHECK(curl("line-7", "/topics/", data) == "404");
  CHECK(curl("line-7", topic) == "405");
  CHECK(curl("line-7", topic, {"-d", "x", "-H", "x-amz-mqtt5-correlation-data: ***"}) == "400");
  write_file(cloud.file("large"), std::string(128 * 1024 + 1, 'x'));
  CHECK(curl("line-7", topic, {"--data-binary", "@" + cloud.file("large")}) == "413");
}

namespace {

// The answer to a question on a connection of its own, or why there is none.
std::string ask(hwid::transport::DeviceConfig config, const std::string& id,
                const std::string& topic, const std::string& payload,
                std::chrono::milliseconds patience = kPatience) {
  config.client_id = id;
  config.clean_session = true;
  std::string answer;
  const auto error = error_text([&] {
    const auto transport = hwid::transport::open(config);
    get(transport->connect());
    answer = get(transport->request({topic, payload}, patience)).payload;
  });
  return answer.empty() ? error : answer;
}

std::string request_of(const StandIn& cloud, const std::string& key) {
  return run_command({"/usr/bin/env", "openssl", "req", "-new", "-key", cloud.file(key), "-subj",
                      "/CN=made"})
      .out;
}

const std::string kCreate = "$aws/certificates/create-from-csr/json";
constexpr std::chrono::seconds kShort{1};  // for an answer that must not come

std::string question_for(const std::string& request) {
  return nlohmann::json({{"certificateSigningRequest", request}}).dump();
}

std::string create(const AwsStandIn& cloud, const std::string& request,
                   std::chrono::milliseconds patience = kPatience) {
  return ask(cloud.config("claim"), "hwid-claim-1", kCreate, question_for(request), patience);
}

std::string provision_topic(const std::string& name) {
  return "$aws/provisioning-templates/" + name + "/provision/json";
}

std::string any_policy() {
  return R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]})";
}

}  // namespace

TEST_CASE("stand_in: AWS makes certificates for requests that follow its rules") {
  const AwsStandIn cloud;
  const std::string good = request_of(cloud, "line-7.key");
  const auto made = create(cloud, good);
  CHECK_MESSAGE(contains(made, "certificateOwnershipToken"), made);
  const auto refused = [&](const std::string& request) {
    return contains(create(cloud, request), "InvalidCertificateSigningRequest");
  };
  CHECK(refused("garbage"));
  std::string forged = good;
  const std::size_t last = forged.find("\n-----END") - 8;
  forged[last] = forged[last] == 'A' ? 'B' : 'A';
  CHECK(refused(forged));
  run_command({"/usr/bin/env", "openssl", "genrsa", "-out", cloud.file("small.key"), "1024"});
  CHECK(refused(request_of(cloud, "small.key")));
  run_command({"/usr/bin/env", "openssl", "genpkey", "-algorithm", "ED25519", "-out",
               cloud.file("edwards.key")});
  CHECK(refused(request_of(cloud, "edwards.key")));
  const auto claim = cloud.config("claim");
  CHECK(contains(ask(claim, "hwid-claim-1", kCreate, "x"), "InvalidPayload"));
  // The policy of a device, and another client id than the claim's policy allows.
  CHECK_FALSE(contains(ask(cloud.config("line-7"), "line-7", kCreate, question_for(good), kShort),
                       "certificatePem"));
  CHECK_FALSE(
      contains(ask(claim, "line-9", kCreate, question_for(good), kShort), "certificatePem"));
}

// fleet.json with these settings, too.
void set_fleet(const AwsStandIn& cloud, const nlohmann::json& settings) {
  auto fleet = nlohmann::json::parse(read_file(cloud.file("fleet.json")));
  fleet.update(settings);
  write_file(cloud.file("fleet.json"), fleet.dump());
}

TEST_CASE("stand_in: AWS registers by template and token") {
  const AwsStandIn cloud(any_policy(), any_policy());
  const auto made = nlohmann::json::parse(create(cloud, request_of(cloud, "line-7.key")));
  const auto& token = made["certificateOwnershipToken"];
  const nlohmann::json parameters = {{"SerialNumber", "7"}};
  const auto says = [&](const std::string& name, const nlohmann::json& question,
                        const std::string& text) {
    const auto answer =
        ask(cloud.config("claim"), "hwid-claim-1", provision_topic(name), question.dump());
    CHECK_MESSAGE(contains(answer, text), answer);
  };
  says("none", {{"certificateOwnershipToken", token}}, "ResourceNotFoundException");
  says("factory", {{"parameters", parameters}}, "cannot be empty");
  says("factory", {{"certificateOwnershipToken", "mine"}}, "not, or no longer, good");
  // A certificate that nobody registered is no device's.
  write_file(cloud.file("made.pem"), made["certificatePem"]);
  write_file(cloud.file("made.key"), read_file(cloud.file("line-7.key")));
  CHECK(publish(cloud, "made", aws_publication("t", {"-i", "line-7"})).code != 0);
  // Each question is a connection of its own here.
  const nlohmann::json good = {{"certificateOwnershipToken", token}, {"parameters", parameters}};
  set_fleet(cloud, {{"token-connection", true}});
  says("factory", good, "not, or no longer, good");
  const auto again = nlohmann::json::parse(create(cloud, request_of(cloud, "line-7.key")));
  set_fleet(cloud, {{"token-connection", false}});
  const nlohmann::json second = {{"certificateOwnershipToken", again["certificateOwnershipToken"]},
                                 {"parameters", parameters}};
  says("factory", second, "line-7");
  says("factory", second, "line-7");
  set_fleet(cloud, {{"token-once", true}});
  says("factory", second, "not, or no longer, good");
  set_fleet(cloud, {{"token-seconds", 0}});
  const auto late = nlohmann::json::parse(create(cloud, request_of(cloud, "line-7.key")));
  says("factory", {{"certificateOwnershipToken", late["certificateOwnershipToken"]}},
       "not, or no longer, good");
}

TEST_CASE("stand_in: AWS registers what is asked for rightly") {
  AwsStandIn cloud(any_policy(), any_policy());
  auto config = cloud.config("claim");
  config.client_id = "hwid-claim-1";
  const auto transport = hwid::transport::open(config);
  get(transport->connect());
  const auto answer = [&](const std::string& topic, const nlohmann::json& question) {
    return nlohmann::json::parse(
        get(transport->request({topic, question.dump()}, std::chrono::seconds(10))).payload);
  };
  const auto error = [&](const std::string& topic, const nlohmann::json& question) {
    return error_text([&] { answer(topic, question); });
  };
  const auto made =
      answer(kCreate, {{"certificateSigningRequest", request_of(cloud, "line-7.key")}});
  nlohmann::json question = {{"certificateOwnershipToken", made["certificateOwnershipToken"]}};
  CHECK(contains(error(provision_topic("closed"), question), "403"));
  CHECK(contains(error(provision_topic("factory"), question), "Missing parameter: SerialNumber"));
  question["parameters"] = {{"SerialNumber", "9"}};
  CHECK(answer(provision_topic("factory"), question)["thingName"] == "line-9");
  write_file(cloud.file("made.pem"), made["certificatePem"]);
  write_file(cloud.file("made.key"), read_file(cloud.file("line-7.key")));
  CHECK(publish(cloud, "made", aws_publication("t", {"-i", "line-9"})).code == 0);
}

TEST_CASE("stand_in: a fault comes once, where it is asked for") {
  AwsStandIn cloud;
  const std::string request = request_of(cloud, "line-7.key");
  cloud.mqtt_faults("register silent\ncreate refuse 500\ncreate garbage\ncreate say {\"a\":1}\n");
  CHECK(contains(create(cloud, request), "500, AFaultOfTheTest"));
  CHECK(contains(create(cloud, request), "garbage"));
  CHECK(create(cloud, request) == "{\"a\":1}");
  CHECK(contains(create(cloud, request), "certificatePem"));
  CHECK(read_file(cloud.file("mqtt.faults")) == "register silent\n");
  for (const char* fault : {"silent", "drop", "lose"}) {
    cloud.mqtt_faults(std::string("create ") + fault + "\n");
    CHECK_MESSAGE(!contains(create(cloud, request, kShort), "certificatePem"), fault);
  }
  cloud.mqtt_faults("create late 500\n");
  CHECK(contains(create(cloud, request), "certificatePem"));
  cloud.mqtt_faults("connect-line-7 refuse\n");
  CHECK(publish(cloud, "line-7", aws_publication(kTopic)).code != 0);
}

TEST_CASE("stand_in: AWS's credential provider refuses each broken rule") {
  const AwsStandIn cloud(R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow",
      "Action":"iot:AssumeRoleWithCertificate",
      "Resource":"arn:aws:iot:eu-central-1:123456789012:rolealias/role"}]})");
  const auto curl = [&](const std::string& device, const std::string& thing,
                        const std::string& path, int port) {
    Arguments all = {HWID_TEST_CURL,
                     "-q",
                     "-s",
                     "-w",
                     " %{http_code}",
                     "--cacert",
                     cloud.file("ca.pem"),
                     "-H",
                     "x-amzn-iot-thingname: " + thing,
                     "https://localhost:" + std::to_string(port) + path};
    if (!device.empty()) {
      const Arguments identity = {"--cert", cloud.file(device + ".pem"), "--key",
                                  cloud.file(device + ".key")};
      all.insert(all.end(), identity.begin(), identity.end());
    }
    return run_command(all).out;
  };
  const int port = cloud.credentials().port();
  const std::string path = "/role-aliases/role/credentials";
  const auto good = curl("line-7", "line-7", path, port);
  CHECK(contains(good, "\"secretAccessKey\""));
  CHECK(contains(good, " 200"));
  CHECK(contains(curl("line-7", "line-8", path, port), "Access Denied"));
  CHECK(contains(curl("line-7", "", path, port), "403"));
  CHECK(contains(curl("unregistered", "line-7", path, port), "403"));
  CHECK(contains(curl("line-7", "line-7", "/role-aliases/other/credentials", port), "403"));
  CHECK(contains(curl("line-7", "line-7", "/role-aliases/role", port), "404"));
  CHECK(contains(curl("line-7", "line-7", path, cloud.https().port()), "Not Found"));
  CHECK(contains(curl("", "line-7", path, port), " 000"));
  CHECK(contains(curl("stranger", "line-7", path, port), " 000"));
}

TEST_CASE("stand_in: Azure's provisioning service refuses each broken rule") {
  AzureStandIn cloud;
  const std::string put = "$dps/registrations/PUT/iotdps-register/?$rid=1";
  const std::string good = R"({"registrationId":"line-7"})";
  const auto user = [](const std::string& scope, const std::string& id) {
    return scope + "/registrations/" + id + "/api-version=2019-03-31";
  };
  const auto takes = [&](const Arguments& changes, const std::string& topic,
                         const std::string& device = "line-7") {
    Arguments all = {"-i",  "line-7", "-u", user("0ne00000000", "line-7"), "-q", "1", "-t",
                     topic, "-m",     good};
    all.insert(all.end(), changes.begin(), changes.end());
    return publish(cloud, device, all).code == 0;
  };
  CHECK(takes({}, put));
  CHECK(takes({"-u", user("0ne00000000", "line-7") + "&ClientVersion=x"}, put));
  for (const Arguments& change :
       {Arguments{"-V", "5"}, Arguments{"-i", "line-8"}, Arguments{"-P", "secret"},
        Arguments{"-q", "2"}, Arguments{"-u", user("other", "line-7")},
        Arguments{"-u", user("0ne00000000", "line-8")}})
    CHECK_MESSAGE(!takes(change, put), change.back());
  CHECK_FALSE(takes({}, put, "unregistered"));
  CHECK_FALSE(takes({}, "$dps/other"));
  for (const char* filter : {"#", "$dps/registrations/#"}) {
    const auto refused =
        subscribe(cloud, "line-7",
                  {"-i", "line-7", "-u", user("0ne00000000", "line-7"), "-t", std::string(filter)});
    CHECK_MESSAGE(contains(refused.err, "denied"), (filter + refused.err));
  }
  const auto says = [&](const std::string& id, const std::string& topic,
                        const std::string& payload) {
    auto config = cloud.config(id);
    config.profile = hwid::transport::Profile::azure_dps;
    config.id_scope = "0ne00000000";
    config.registration_id = id;
    return ask(config, id, "$dps/registrations/" + topic, payload);
  };
  const std::string begin = "PUT/iotdps-register/?$rid=";
  CHECK(contains(says("line-7", begin, good), R"("status":"assigning")"));
  CHECK(contains(says("line-7", begin, R"({"registrationId":"line-8"})"), "status 400"));
  CHECK(contains(says("line-7", begin, "x"), "status 400"));
  CHECK(
      contains(says("unregistered", begin, R"({"registrationId":"unregistered"})"), "status 404"));
  CHECK(contains(says("line-7", "GET/iotdps-get-operationstatus/?$rid=&operationId=x", ""),
                 "status 404"));
  auto settings = nlohmann::json::parse(read_file(cloud.file("dps.json")));
  settings["retry-after"] = 600;
  write_file(cloud.file("dps.json"), settings.dump());
  cloud.mqtt_faults("dps-register refuse 429\n");
  CHECK(contains(says("line-7", begin, good), "status 429, 429002"));
  CHECK(contains(says("line-7", begin, good), "before retry-after"));
}

TEST_CASE("stand_in: the provisioning service assigns a hub to who asks in its own time") {
  AzureStandIn cloud;
  auto config = cloud.config("line-7");
  config.profile = hwid::transport::Profile::azure_dps;
  config.id_scope = "0ne00000000";
  config.registration_id = "line-7";
  const auto transport = hwid::transport::open(config);
  get(transport->connect());
  const auto ask_for = [&](const std::string& topic, const std::string& payload) {
    const auto answer =
        get(transport->request({"$dps/registrations/" + topic, payload}, std::chrono::seconds(10)));
    return nlohmann::json::parse(answer.payload);
  };
  const auto begin = [&] {
    const auto answer = ask_for("PUT/iotdps-register/?$rid=", R"({"registrationId":"line-7"})");
    return "GET/iotdps-get-operationstatus/?$rid=&operationId=" +
           answer["operationId"].get<std::string>();
  };
  // Asked again until it is neither too early nor still under way.
  const auto assigned = [&] {
    const std::string poll = begin();
    CHECK(contains(error_text([&] { ask_for(poll, ""); }), "before retry-after"));
    nlohmann::json last;
    eventually([&] {
      try {
        last = ask_for(poll, "");
      } catch (const hwid::transport::Error&) {
      }
      return last.is_object() && last["status"] != "assigning";
    });
    return last;
  };
  const auto good = assigned();
  CHECK(good["status"] == "assigned");
  CHECK(good["registrationState"]["assignedHub"] == AzureStandIn::address());
  CHECK(good["registrationState"]["deviceId"] == "line-7");
  auto settings = nlohmann::json::parse(read_file(cloud.file("dps.json")));
  settings["registrations"]["line-7"]["state"] = "disabled";
  write_file(cloud.file("dps.json"), settings.dump());
  CHECK(assigned()["registrationState"]["errorCode"] == 400209);
}

TEST_CASE("stand_in: Azure refuses each broken rule") {
  const AzureStandIn cloud;
  const std::string events = "devices/line-7/messages/events/";
  const auto publication = [&](const Arguments& changes, const std::string& topic) {
    Arguments all = {"-i", "line-7", "-q", "1", "-t", topic, "-m", "x", "-u", kHub};
    all.insert(all.end(), changes.begin(), changes.end());
    return all;
  };
  const auto good = [&](const Arguments& changes, const std::string& topic,
                        const std::string& device = "line-7") {
    return publish(cloud, device, publication(changes, topic)).code == 0;
  };
  CHECK(good({}, events));
  CHECK(good({"-u", kHub + "&model-id=dtmi%3Aa%3B1"}, events));
  CHECK(good({}, events + "a=b"));
  CHECK_FALSE(good({"-V", "5"}, events));
  CHECK_FALSE(good({"-q", "2"}, events));
  CHECK_FALSE(good({"-u", "localhost/line-7/"}, events));
  CHECK_FALSE(good({"-u", "line-7"}, events));
  CHECK_FALSE(good({"-P", "secret"}, events));
  CHECK_FALSE(good({"-i", "line-8"}, events));
  CHECK_FALSE(good({}, events, "unregistered"));
  CHECK_FALSE(good({}, events, "stranger"));
  CHECK_FALSE(good({"-k", "1178"}, events));
  CHECK_FALSE(good({}, "devices/line-8/messages/events/"));
  CHECK_FALSE(good({}, "t/req"));
  for (const char* filter : {"#", "devices/line-8/messages/devicebound/#", "t/resp"}) {
    const auto refused =
        subscribe(cloud, "line-7", {"-i", "line-7", "-u", kHub, "-t", std::string(filter)});
    CHECK_MESSAGE(contains(refused.err, "denied"), (filter + refused.err));
  }
}
