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
  const auto answered =
      run(kPublish, {"-c", config, "-t", "t/req", "-m", R"({"requestId":"1"})", "--request"});
  CHECK(answered.code == 0);
  CHECK(answered.out == "{\"requestId\":\"1\",\"statusCode\":\"200\"}\n");
  const auto silent = run(kPublish, {"-c", config, "-t", "nobody/req", "-m", R"({"requestId":"1"})",
                                     "--request", "--timeout", "1"});
  CHECK(silent.code == 1);
  CHECK_MESSAGE(contains(silent.err, "no answer"), silent.err);
}

TEST_CASE("samples: exit codes") {
  const Broker broker;
  const auto config = write_config(broker, "exits");
  CHECK(run(kPublish, {"--help"}).code == 0);
  CHECK(contains(run(kSubscribe, {"--help"}).out, "Example:"));
  CHECK(run(kPublish, {"--config", config, "--topic", "t"}).code == 2);
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
