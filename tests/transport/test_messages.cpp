#include <doctest/doctest.h>

#include <algorithm>

#include "client.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)

TEST_CASE("messages: QoS 0, 1 and 2, in both MQTT versions") {
  const Broker broker;
  for (const auto version : {MqttVersion::v3_1_1, MqttVersion::v5}) {
    for (const auto qos : {Qos::at_most_once, Qos::at_least_once, Qos::exactly_once}) {
      CAPTURE(static_cast<int>(version));
      CAPTURE(static_cast<int>(qos));
      auto config = client_config(broker, "both");
      config.mqtt_version = version;
      config.clean_session = true;
      Messages messages;
      const auto transport = open(config);
      get(transport->connect());
      get(transport->subscribe("a/+", qos, into(messages)));
      const auto delivery = get(transport->publish({"a/b", "payload", qos}));
      CHECK((delivery.packet_id != 0) == (qos != Qos::at_most_once));
      const auto seen = messages.wait_for(1);
      REQUIRE(seen.size() == 1);
      CHECK(seen[0].topic == "a/b");
      CHECK(seen[0].payload == "payload");
      CHECK(seen[0].qos == qos);
    }
  }
}

TEST_CASE("messages: any bytes, any size, in order") {
  const Broker broker;
  auto config = client_config(broker, "order");
  Messages messages;
  const auto transport = open(config);
  get(transport->connect());
  get(transport->subscribe("a", Qos::at_least_once, into(messages)));
  const std::string big(200000, '\0');
  std::vector<std::future<Delivery>> deliveries;
  deliveries.push_back(transport->publish({"a", big}));
  deliveries.push_back(transport->publish({"a", ""}));
  constexpr int kMany = 300;
  for (int i = 0; i < kMany; ++i)
    deliveries.push_back(transport->publish({"a", std::to_string(i)}));
  for (auto& delivery : deliveries) get(std::move(delivery));
  const auto seen = messages.wait_for(kMany + 2);
  REQUIRE(seen.size() == kMany + 2);
  CHECK(seen[0].payload == big);
  CHECK(seen[1].payload.empty());
  for (int i = 0; i < kMany; ++i) CHECK(seen[i + 2].payload == std::to_string(i));
}

TEST_CASE("messages: MQTT 5 properties travel, MQTT 3.1.1 refuses them") {
  const Broker broker;
  auto config = client_config(broker, "properties");
  Message message{"a", "x"};
  message.properties.content_type = "text/plain";
  message.properties.response_topic = "r";
  message.properties.correlation_data = std::string("\0\1", 2);
  message.properties.message_expiry = std::chrono::seconds(100);
  message.properties.user = {{"k", "1"}, {"k", "2"}};
  {
    const auto transport = open(config);
    get(transport->connect());
    CHECK(contains(error_text([&] { get(transport->publish(message)); }), "MQTT 3.1.1"));
  }
  config.mqtt_version = MqttVersion::v5;
  config.receive_maximum = 10;
  Messages messages;
  const auto transport = open(config);
  get(transport->connect());
  get(transport->subscribe("a", Qos::at_least_once, into(messages)));
  get(transport->publish(message));
  const auto seen = messages.wait_for(1);
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].properties.content_type == "text/plain");
  CHECK(seen[0].properties.response_topic == "r");
  CHECK(seen[0].properties.correlation_data == std::string("\0\1", 2));
  CHECK(seen[0].properties.message_expiry.has_value());
  CHECK(seen[0].properties.user == message.properties.user);
}

TEST_CASE("messages: an exception in a handler is logged, and the next message comes") {
  const Broker broker;
  Messages messages;
  const auto transport = open(client_config(broker, "thrower"));
  transport->on_state([](const StateChange&) { throw 42; });
  get(transport->connect());
  get(transport->subscribe("a", Qos::at_least_once, [&](const Message& message) {
    messages.add(message);
    throw std::runtime_error("expected by the test");
  }));
  get(transport->publish({"a", "1"}));
  get(transport->publish({"a", "2"}));
  CHECK(messages.wait_for(2).size() == 2);
}

TEST_CASE("messages: a handler may wait for its own transport, and close it") {
  const Broker broker;
  Messages answers;
  const auto transport = open(client_config(broker, "waiter"));
  get(transport->connect());
  std::promise<void> closed;
  get(transport->subscribe("answer", Qos::at_least_once, [&](const Message& message) {
    answers.add(message);
    transport->close(std::chrono::seconds(5));
    closed.set_value();
  }));
  get(transport->subscribe("question", Qos::at_least_once, [&](const Message&) {
    get(transport->publish({"answer", "yes"}));
  }));
  get(transport->publish({"question", ""}));
  CHECK(answers.wait_for(1).size() == 1);
  get(closed.get_future());
}

TEST_CASE("messages: unsubscribe, and what has no subscription") {
  const Broker broker;
  Messages messages;
  const auto transport = open(client_config(broker, "unsubscriber"));
  get(transport->connect());
  get(transport->subscribe("a", Qos::at_least_once, into(messages)));
  get(transport->unsubscribe("a"));
  get(transport->subscribe("b", Qos::at_least_once, into(messages)));
  get(transport->publish({"a", "lost"}));
  get(transport->publish({"b", "kept"}));
  const auto seen = messages.wait_for(1);
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].topic == "b");
  CHECK(contains(error_text([&] { get(transport->unsubscribe("a")); }), "no such subscription"));
}

TEST_CASE("messages: bad topics are refused before they are sent") {
  const Broker broker;
  const auto transport = open(client_config(broker, "bad"));
  CHECK(contains(error_text([&] { get(transport->publish({"a", "x"})); }), "connect()"));
  get(transport->connect());
  CHECK(contains(error_text([&] { get(transport->publish({"a/#", "x"})); }), "subscriptions only"));
  CHECK(contains(error_text([&] {
                   get(transport->subscribe("a/#/b", Qos::at_most_once, [](const Message&) {}));
                 }),
                 "last level"));
}

TEST_CASE("messages: a refused subscription says so") {
  const Broker broker;
  for (const auto version : {MqttVersion::v3_1_1, MqttVersion::v5}) {
    auto config = client_config(broker, "forbidden");
    config.mqtt_version = version;
    const auto transport = open(config);
    get(transport->connect());
    const auto subscribed = error_text(
        [&] { get(transport->subscribe("deny/x", Qos::at_least_once, [](const Message&) {})); });
    CHECK_MESSAGE(contains(subscribed, "the broker refused"), subscribed);
    if (version != MqttVersion::v5) continue;
    const auto published = error_text([&] { get(transport->publish({"deny/x", ""})); });
    CHECK_MESSAGE(contains(published, "the broker refused"), published);
  }
}

TEST_CASE("messages: many requests under way, answered in any order, late, or never") {
  const Broker broker;
  constexpr int kMany = 300;
  for (const auto version : {MqttVersion::v3_1_1, MqttVersion::v5}) {
    CAPTURE(static_cast<int>(version));
    auto config = client_config(broker, "server");
    config.mqtt_version = version;
    const auto server = open(config);
    get(server->connect());
    std::vector<Message> held;  // until the last one came
    get(server->subscribe("t/req", Qos::at_least_once, [&](const Message& request) {
      held.push_back(request);
      if (held.size() < kMany + 1) return;
      for (auto last = held.rbegin(); last != held.rend(); ++last) {
        Message answer{"t/resp", last->payload};
        answer.properties.correlation_data = last->properties.correlation_data;
        server->publish(answer);
      }
    }));
    config.client_id = "asker";
    const auto asker = open(config);
    get(asker->connect());
    Messages answers;
    get(asker->subscribe("t/resp", Qos::at_least_once, into(answers)));
    const auto payload = [](int number) {
      return R"({"requestId":)" + std::to_string(number) + "}";
    };
    auto impatient = asker->request({"t/req", payload(-1)}, std::chrono::milliseconds(500));
    CHECK(contains(error_text([&] { get(std::move(impatient)); }), "no answer within 500 ms"));
    std::vector<std::future<Message>> futures;
    // With MQTT 5 without an id of the payload's own, but for the late one.
    const bool same = version == MqttVersion::v5;
    for (int i = 0; i < kMany; ++i)
      futures.push_back(asker->request({"t/req", same ? "no JSON" : payload(i)}, kPatience));
    for (int i = 0; i < kMany; ++i)
      CHECK(get(std::move(futures[i])).payload == (same ? "no JSON" : payload(i)));
    const auto late = answers.wait_for(kMany + 1);
    CHECK(std::any_of(late.begin(), late.end(),
                      [&](const Message& message) { return message.payload == payload(-1); }));
  }
}

TEST_CASE("messages: request and answer") {
  const Broker broker;
  for (const auto version : {MqttVersion::v3_1_1, MqttVersion::v5}) {
    auto config = client_config(broker, "server");
    config.mqtt_version = version;
    const auto server = open(config);
    get(server->connect());
    get(server->subscribe("t/req", Qos::at_least_once, [&](const Message& request) {
      server->publish({"t/resp", R"({"requestId":"other"})"});
      Message answer{"t/resp", request.payload};
      answer.properties.correlation_data = request.properties.correlation_data;
      server->publish(answer);
    }));
    config.client_id = "asker";
    const auto asker = open(config);
    get(asker->connect());
    for (const char* id : {"1", "2"}) {  // the second finds the response topic subscribed
      const std::string payload = std::string(R"({"requestId":")") + id + R"("})";
      CHECK(get(asker->request({"t/req", payload}, kPatience)).payload == payload);
    }
    if (version == MqttVersion::v5)
      CHECK(get(asker->request({"t/req", "no JSON"}, kPatience)).payload == "no JSON");
    const auto late = error_text([&] {
      get(asker->request({"nobody/req", R"({"requestId":"3"})"}, std::chrono::milliseconds(200)));
    });
    CHECK_MESSAGE(contains(late, "no answer within 200 ms"), late);
    const auto denied = error_text([&] {
      get(asker->request({"deny/req", R"({"requestId":"4"})"}, kPatience));
    });
    CHECK_MESSAGE(contains(denied, "the broker refused"), denied);
  }
}
