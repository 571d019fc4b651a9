#include <doctest/doctest.h>

#include "client.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)

TEST_CASE("handshake: the reason of a failure reaches the user") {
  const Broker broker;
  const auto good = client_config(broker, "handshake");
  CHECK(connect_error(good) == "no error");

  SUBCASE("a CA that did not sign the broker's certificate") {
    auto config = good;
    config.ca_file = broker.file("other-ca.pem");
    const auto error = connect_error(config);
    CHECK_MESSAGE(contains(error, "certificate verify failed"), error);
    CHECK_MESSAGE(contains(error, config.endpoint), error);
    CHECK_MESSAGE(contains(error, "ca-file"), error);
  }
  SUBCASE("a broker of another name") {
    auto config = good;
    config.endpoint = "mqtts://127.0.0.1:" + std::to_string(broker.port());
    const auto error = connect_error(config);
    CHECK_MESSAGE(contains(error, "mismatch"), error);
    CHECK_MESSAGE(contains(error, "it has DNS:localhost"), error);
  }
  SUBCASE("a client certificate of another CA") {
    auto config = good;
    config.cert = broker.file("stranger.pem");
    config.key = broker.file("stranger.key");
    const auto error = connect_error(config);
    CHECK_MESSAGE(contains(error, "the server does not know the CA"), error);
    CHECK_MESSAGE(contains(error, "unknown CA"), error);
    CHECK_MESSAGE(contains(error, "issued by CN=other-ca"), error);
    try {
      get(open(config)->connect());
    } catch (const Error& refusal) {
      CHECK(refusal.kind() == ErrorKind::refused);  // the other side answered
    }
  }
  SUBCASE("no client certificate") {
    auto config = good;
    config.cert.clear();
    config.key.clear();
    const auto error = connect_error(config);
    CHECK_MESSAGE(contains(error, "certificate required"), error);
  }
  SUBCASE("a key that does not belong to the certificate") {
    auto config = good;
    config.key = broker.file("stranger.key");
    const auto error = connect_error(config);
    CHECK_MESSAGE(contains(error, "key values mismatch"), error);
    CHECK_MESSAGE(contains(error, config.key), error);
  }
  SUBCASE("a CA file that is none") {
    auto config = good;
    config.ca_file = broker.file("acl.json");
    const auto error = connect_error(config);
    CHECK_MESSAGE(contains(error, broker.file("acl.json")), error);
  }
  SUBCASE("a cipher list that is none") {
    auto config = good;
    config.ciphers = "NOSUCHCIPHER";
    const auto error = connect_error(config);
    CHECK_MESSAGE(contains(error, "no cipher match"), error);
  }
  SUBCASE("a name that does not exist") {
    auto config = good;
    config.endpoint = "mqtts://nowhere.invalid";
    const auto error = connect_error(config);
    CHECK_MESSAGE(contains(error, "does not resolve"), error);
  }
  SUBCASE("a missing key file") {
    auto config = good;
    config.key = broker.file("missing.key");
    const auto error = connect_error(config);
    CHECK_MESSAGE(contains(error, "missing.key: No such file"), error);
  }
}

TEST_CASE("handshake: nobody listens") {
  Broker broker;
  broker.stop();
  const auto error = connect_error(client_config(broker, "nobody"));
  CHECK_MESSAGE(contains(error, "Connection refused"), error);
}

TEST_CASE("handshake: connect() may be called again after a failure") {
  Broker broker;
  broker.stop();
  States states;
  const auto transport = open(client_config(broker, "again"));
  transport->on_state(into(states));
  CHECK(contains(error_text([&] { get(transport->connect()); }), "Connection refused"));
  CHECK(reaches(states, State::closed));
  broker.start();
  get(transport->connect());
  get(transport->publish({"a", "x"}));
}

TEST_CASE("handshake: ALPN and ciphers") {
  const Broker broker;
  auto config = client_config(broker, "options");
  config.alpn = {"mqtt", "x-amzn-mqtt-ca"};
  config.ciphers = "ECDHE+AESGCM:@SECLEVEL=2";
  CHECK(connect_error(config) == "no error");
}
