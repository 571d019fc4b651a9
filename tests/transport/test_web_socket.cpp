#include <doctest/doctest.h>

#include "client.h"
#include "tls_server.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)

namespace {

// A broker that speaks MQTT over web sockets only.
struct WebSocketBroker {
  WebSocketBroker() {
    make_certificate(directory.path(), "ca", "");
    make_certificate(directory.path(), "other-ca", "");
    make_certificate(directory.path(), "server", "ca", "DNS:localhost,IP:127.0.0.1");
    make_certificate(directory.path(), "client", "ca");
    listener = std::make_unique<Listener>(directory.path(), "websockets", "server");
  }

  DeviceConfig config(const std::string& path = {}) const {
    DeviceConfig config;
    config.endpoint = "wss://localhost:" + std::to_string(listener->port()) + path;
    config.client_id = "web";
    config.ca_file = (directory / "ca.pem").string();
    config.cert = (directory / "client.pem").string();
    config.key = (directory / "client.key").string();
    return config;
  }

  TemporaryDirectory directory;
  std::unique_ptr<Listener> listener;
};

}  // namespace

TEST_CASE("web socket: messages, and an interruption") {
  WebSocketBroker broker;
  for (const auto version : {MqttVersion::v3_1_1, MqttVersion::v5}) {
    CAPTURE(static_cast<int>(version));
    auto config = broker.config();
    config.mqtt_version = version;
    Messages messages;
    States states;
    const auto transport = open(config);
    transport->on_state(into(states));
    get(transport->connect());
    get(transport->subscribe("a", Qos::exactly_once, into(messages)));
    const std::string large(20000, 'x');
    get(transport->publish({"a", large, Qos::exactly_once}));
    CHECK(messages.wait_for(1).at(0).payload == large);

    broker.listener->stop();

    REQUIRE(reaches(states, State::interrupted));
    broker.listener->start();
    REQUIRE(reaches(states, State::resumed));
    get(transport->publish({"a", "after"}));
    CHECK(messages.wait_for(2).at(1).payload == "after");
  }
}

TEST_CASE("web socket: the path is /mqtt, or the endpoint's") {
  const TemporaryDirectory directory;
  make_certificate(directory.path(), "ca", "");
  make_certificate(directory.path(), "server", "ca", "DNS:localhost");
  const std::pair<const char*, const char*> paths[] = {
      {"", "GET /mqtt HTTP/1.1\r"}, {"/", "GET /mqtt HTTP/1.1\r"}, {"/a/b", "GET /a/b HTTP/1.1\r"}};
  for (const auto& path : paths) {
    Log<SeenHello> hellos;
    const auto add = [&](const SeenHello& hello) { hellos.add(hello); };
    const SocketServer server(report_hello(directory.path(), add, true));
    DeviceConfig config;
    config.endpoint = "wss://localhost:" + std::to_string(server.port()) + path.first;
    config.client_id = "web";
    config.ca_file = (directory / "ca.pem").string();
    CHECK(connect_error(config) != "no error");
    CHECK(hellos.wait_for(1).at(0).line == path.second);
  }
}

TEST_CASE("web socket: reasons reach the user") {
  const WebSocketBroker broker;
  auto config = broker.config();
  CHECK(connect_error(config) == "no error");
  SUBCASE("an address that the certificate has") {
    config.endpoint = "wss://127.0.0.1:" + std::to_string(broker.listener->port());
    CHECK(connect_error(config) == "no error");
  }
  SUBCASE("a CA that we do not know") {
    config.ca_file = (broker.directory / "other-ca.pem").string();
    const auto error = connect_error(config);
    CHECK_MESSAGE(contains(error, "we do not know the CA"), error);
  }
  SUBCASE("no certificate") {
    config.cert.clear();
    config.key.clear();
    const auto error = connect_error(config);
    CHECK_MESSAGE(contains(error, "wants a client certificate"), error);
  }
  SUBCASE("a broker that speaks no web sockets") {
    const Listener plain(broker.directory.path(), "mqtt", "server");
    config.endpoint = "wss://localhost:" + std::to_string(plain.port());
    const auto error = connect_error(config);
    CHECK_MESSAGE(error != "no error", error);
  }
}
