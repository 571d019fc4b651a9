// The stand-ins themselves: each rule broken once, by programs that know nothing of ours.
#include <doctest/doctest.h>

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
