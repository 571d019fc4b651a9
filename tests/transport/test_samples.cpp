#include <doctest/doctest.h>

#include <csignal>

#include "client.h"

using namespace hwid::test;  // NOLINT(google-build-using-namespace)

namespace {

struct Output {
  int code;
  std::string out;
  std::string err;
};

class Sample {
 public:
  Sample(const std::string& program, const std::vector<std::string>& options)
      : process_(arguments(program, options), directory_ / "out", directory_ / "err") {}
  std::string err() const { return read_file(directory_ / "err"); }
  std::string out() const { return read_file(directory_ / "out"); }
  Process& process() { return process_; }
  Output wait() {
    const int code = process_.wait();
    return {code, out(), err()};
  }

 private:
  static std::vector<std::string> arguments(const std::string& program,
                                            const std::vector<std::string>& options) {
    std::vector<std::string> all{program};
    all.insert(all.end(), options.begin(), options.end());
    return all;
  }
  TemporaryDirectory directory_;
  Process process_;
};

Output run(const std::string& program, const std::vector<std::string>& options) {
  return Sample(program, options).wait();
}

std::string write_config(const Broker& broker, const std::string& client_id,
                         const std::string& more = {}) {
  std::string file = broker.file(client_id + ".conf");
  write_file(file, "endpoint = mqtts://localhost:" + std::to_string(broker.port()) +
                       "\nclient-id = " + client_id + "\nca-file = " + broker.file("ca.pem") +
                       "\ncert = " + broker.file("client.pem") +
                       "\nkey = " + broker.file("client.key") + "\n" + more);
  return file;
}

const std::string kPublish = HWID_TEST_PUBLISH;
const std::string kSubscribe = HWID_TEST_SUBSCRIBE;
const std::string kRequest = HWID_TEST_REQUEST;
const std::string kReply = HWID_TEST_REPLY;
const std::string kTelemetry = HWID_TEST_TELEMETRY;

}  // namespace

TEST_CASE("samples: publish and subscribe") {
  const Broker broker;
  const auto publisher = write_config(broker, "publisher", "topics.publish = t/req\n");
  Sample subscriber(kSubscribe, {"--config", write_config(broker, "mqtt-mtls-pkcs-test-client"),
                                 "--topic", "t/#", "--count", "3", "--timeout", "20"});
  REQUIRE(eventually([&] { return contains(subscriber.err(), "subscribed to t/#\n"); }));
  CHECK(run(kPublish, {"--config", publisher, "--message", "one"}).code == 0);
  CHECK(run(kPublish, {"--config", publisher, "--topic", "t/x", "--message", "two", "--qos", "2",
                       "--count", "2"})
            .code == 0);
  const auto seen = subscriber.wait();
  CHECK(seen.code == 0);
  CHECK(seen.out == "t/req one\nt/x two\nt/x two\n");
}

TEST_CASE("samples: a request prints its answer") {
  const Broker broker;
  const auto server = hwid::transport::open(client_config(broker, "server"));
  get(server->connect());
  get(server->subscribe("t/req", hwid::transport::Qos::at_least_once,
                        [&](const hwid::transport::Message&) {
                          server->publish({"t/resp", R"({"requestId":"1","statusCode":"200"})"});
                        }));
  const auto config = write_config(broker, "asker");
  const auto answered = run(kRequest, {"-c", config, "-t", "t/req", "-m", R"({"requestId":"1"})"});
  CHECK(answered.code == 0);
  CHECK(answered.out == "{\"requestId\":\"1\",\"statusCode\":\"200\"}\n");
  const auto silent = run(
      kRequest, {"-c", config, "-t", "nobody/req", "-m", R"({"requestId":"1"})", "--timeout", "1"});
  CHECK(silent.code == 1);
  CHECK_MESSAGE(contains(silent.err, "no answer"), silent.err);
}

TEST_CASE("samples: MQTT 5 answers any payload, and its properties are shown") {
  const Broker broker;
  const std::string v5 = "mqtt-version = 5\nclean-session = yes\n";
  Sample replier(kReply, {"-c", write_config(broker, "replier", v5), "-t", "t/req", "-n", "1"});
  REQUIRE(eventually([&] { return contains(replier.err(), "answering t/req\n"); }));
  const auto answered =
      run(kRequest, {"-c", write_config(broker, "asker", v5), "-t", "t/req", "-m", "no JSON"});
  CHECK(answered.code == 0);
  CHECK_MESSAGE(contains(answered.out, R"("statusCode":"400")"), answered.out);
  const auto seen = replier.wait();
  CHECK(seen.code == 0);
  CHECK_MESSAGE(contains(seen.out, R"("payload":"no JSON","qos":1,"responseTopic":")"), seen.out);
}

TEST_CASE("samples: a request that cannot be answered ends nobody") {
  const Broker broker;
  const auto config = write_config(broker, "replier", "clean-session = yes\n");
  Sample replier(kReply, {"-c", config, "-t", "t/#", "-n", "1"});
  REQUIRE(eventually([&] { return contains(replier.err(), "answering t/#\n"); }));
  const auto asker = write_config(broker, "asker");
  CHECK(run(kPublish, {"-c", asker, "-t", "t/x", "-m", "{}"}).code == 0);
  CHECK(run(kRequest, {"-c", asker, "-t", "t/req", "-m", "{}"}).code == 0);
  const auto seen = replier.wait();
  CHECK(seen.code == 0);
  CHECK_MESSAGE(contains(seen.err, "t/x: it does not end in /req"), seen.err);
}

TEST_CASE("samples: a standard output that takes no more ends hwid-subscribe") {
  const Broker broker;
  const auto config = write_config(broker, "unheard", "clean-session = yes\n");
  Sample subscriber("/bin/sh", {"-c", kSubscribe + " -c " + config + " -t t > /dev/full"});
  REQUIRE(eventually([&] { return contains(subscriber.err(), "subscribed to t\n"); }));
  CHECK(run(kPublish, {"-c", write_config(broker, "publisher"), "-t", "t", "-m", "x"}).code == 0);
  const auto seen = subscriber.wait();
  CHECK(seen.code == 3);
  CHECK_MESSAGE(contains(seen.err, "cannot write to the standard output"), seen.err);
}

TEST_CASE("samples: exit codes") {
  const Broker broker;
  const auto config = write_config(broker, "exits");
  CHECK(run(kPublish, {"--help"}).code == 0);
  CHECK(contains(run(kSubscribe, {"--help"}).out, "Examples:"));
  for (const auto& program : {kRequest, kReply, kTelemetry})
    CHECK(contains(run(program, {"--help"}).out, "Examples:"));
  CHECK(run(kPublish, {"--config", config, "--topic", "t"}).code == 2);
  CHECK(run(kPublish, {"--config", config, "--topic", "t", "--lines", "--message", "x"}).code == 2);
  CHECK(run(kTelemetry, {"--config", config, "--topic", "t", "--interval", "0"}).code == 2);
  CHECK(run(kPublish, {"--config", config, "--topic", "t", "--message", "x", "--qos", "3"}).code ==
        2);
  CHECK(run(kPublish, {"--config", config, "--message", "x"}).code == 2);
  CHECK(run(kPublish, {"--config", config, "--nonsense"}).code == 2);
  CHECK(run(kPublish, {"--config", config, "--topic", "#", "--message", "x"}).code == 2);
  CHECK(run(kPublish, {"--config", "/nonexistent", "--topic", "t", "--message", "x"}).code == 3);
  CHECK(run(kSubscribe, {"--config", config, "--topic", "deny/x"}).code == 1);
  CHECK(run(kSubscribe, {"--config", config, "--topic", "t", "--count", "1", "--timeout", "1"})
            .code == 1);
  CHECK(run(kSubscribe, {"--config", config, "--topic", "t", "--timeout", "1"}).code == 0);
  const auto stranger = write_config(broker, "strange", "ca-path = /nonexistent\nqos = 7\n");
  const auto error = run(kSubscribe, {"--config", stranger, "--topic", "t"});
  CHECK(error.code == 3);
  CHECK_MESSAGE(contains(error.err, "strange.conf:7"), error.err);
}

TEST_CASE("samples: a signal ends hwid-subscribe in order") {
  const Broker broker;
  Sample subscriber(kSubscribe, {"--config", write_config(broker, "signalled"), "--topic", "t"});
  REQUIRE(eventually([&] { return contains(subscriber.err(), "subscribed to t\n"); }));
  subscriber.process().signal(SIGTERM);
  CHECK(subscriber.wait().code == 0);
}
