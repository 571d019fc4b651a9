#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <thread>
#include <vector>

#include "client.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)

namespace {

// QoS 1 may bring a message again.
std::vector<Message> without_repeats(std::vector<Message> all) {
  const auto is_same = [](const Message& one, const Message& next) {
    return one.topic == next.topic && one.payload == next.payload;
  };
  all.erase(std::unique(all.begin(), all.end(), is_same), all.end());
  return all;
}

}  // namespace

TEST_CASE("connection: comes back after the broker was away, with its subscriptions") {
  for (const bool clean : {true, false}) {
    for (const auto version : {MqttVersion::v3_1_1, MqttVersion::v5}) {
      CAPTURE(clean);
      CAPTURE(static_cast<int>(version));
      Broker broker;
      auto config = client_config(broker, "returner");
      config.clean_session = clean;
      config.mqtt_version = version;
      Messages messages;
      States states;
      const auto transport = open(config);
      transport->on_state(into(states));
      get(transport->connect());
      get(transport->subscribe("a", Qos::at_least_once, into(messages)));
      get(transport->publish({"a", "before"}));
      CHECK(messages.wait_for(1).size() == 1);

      broker.stop();
      REQUIRE(reaches(states, State::interrupted));
      auto meanwhile = transport->publish({"a", "meanwhile"});
      auto more = transport->subscribe("b", Qos::at_least_once, into(messages));
      broker.start();
      REQUIRE(reaches(states, State::resumed));
      get(std::move(meanwhile));
      get(std::move(more));
      get(transport->publish({"a", "after"}));
      get(transport->publish({"b", "after"}));
      // "before" comes again where the broker went before it was acknowledged.
      const auto seen = without_repeats(
          messages.wait([](const auto& items) { return without_repeats(items).size() >= 4; }));
      REQUIRE(seen.size() == 4);
      CHECK(seen[1].payload == "meanwhile");

      const auto changes = states.now();
      CHECK(changes[0].state == State::connecting);
      CHECK(changes[1].state == State::connected);
      CHECK_FALSE(changes[1].session_present);
      CHECK(changes[2].state == State::interrupted);
      CHECK_FALSE(changes[2].reason.empty());
      CHECK(changes.back().state == State::resumed);
      CHECK(changes.back().session_present == !clean);
    }
  }
}

TEST_CASE("connection: a persistent session delivers what was on its way") {
  Broker broker;
  for (const auto version : {MqttVersion::v3_1_1, MqttVersion::v5}) {
    for (const auto qos : {Qos::at_least_once, Qos::exactly_once}) {
      CAPTURE(static_cast<int>(version));
      CAPTURE(static_cast<int>(qos));
      auto config = client_config(broker, "on-its-way");
      config.mqtt_version = version;
      Messages messages;
      States states;
      const auto transport = open(config);
      transport->on_state(into(states));
      get(transport->connect());
      get(transport->subscribe("a", qos, into(messages)));
      broker.save_and_freeze();
      auto delivery = transport->publish({"a", "x", qos});
      get(transport->publish({"b", "written", Qos::at_most_once}));  // so x is on its way
      CHECK(delivery.wait_for(std::chrono::seconds(0)) == std::future_status::timeout);
      broker.stop(SIGKILL);
      REQUIRE(reaches(states, State::interrupted));
      broker.start();
      REQUIRE(reaches(states, State::resumed));
      get(std::move(delivery));
      CHECK(messages.wait_for(1).size() >= 1);
    }
  }
}

TEST_CASE("connection: a clean session reports what was on its way") {
  Broker broker;
  auto config = client_config(broker, "clean");
  config.clean_session = true;
  const auto transport = open(config);
  get(transport->connect());
  broker.freeze();
  auto delivery = transport->publish({"a", "x"});
  get(transport->publish({"a", "written", Qos::at_most_once}));  // so x is on its way
  broker.stop(SIGKILL);
  const auto error = error_text([&] { get(std::move(delivery)); });
  CHECK_MESSAGE(contains(error, "before the"), error);
}

TEST_CASE("connection: what the broker kept arrives when subscribed before connect()") {
  const Broker broker;
  for (const auto version : {MqttVersion::v3_1_1, MqttVersion::v5}) {
    CAPTURE(static_cast<int>(version));
    auto config = client_config(broker, "sleeper");
    config.mqtt_version = version;
    {
      const auto transport = open(config);
      get(transport->connect());
      get(transport->subscribe("a", Qos::at_least_once, [](const Message&) {}));
    }
    {
      const auto sender = open(client_config(broker, "sender"));
      get(sender->connect());
      get(sender->publish({"a", "kept"}));
    }
    Messages messages;
    States states;
    const auto transport = open(config);
    transport->on_state(into(states));
    auto granted = transport->subscribe("a", Qos::at_least_once, into(messages));
    get(transport->connect());
    get(std::move(granted));
    const auto seen = messages.wait_for(1);
    REQUIRE(seen.size() == 1);
    CHECK(seen[0].payload == "kept");
    CHECK(reaches(states, State::connected));
    CHECK(states.now()[1].session_present);
  }
}

TEST_CASE("connection: certificate and key are opened anew at each attempt") {
  Broker broker;
  const auto generation = [&](const std::string& name) {
    const auto directory = broker.directory() / name;
    std::filesystem::create_directory(directory);
    make_certificate(broker.directory().path(), name + "-device", "ca");
    for (const char* end : {".pem", ".key"})
      std::filesystem::rename(broker.file(name + "-device" + end),
                              directory / ("device" + std::string(end)));
  };
  const auto current = broker.directory() / "current";
  const auto switch_to = [&](const std::string& name) {
    const auto next = broker.directory() / "next";
    std::filesystem::create_directory_symlink(name, next);
    std::filesystem::rename(next, current);
  };
  generation("first");
  generation("second");
  switch_to("first");
  auto config = client_config(broker, "renewed");
  config.cert = (current / "device.pem").string();
  config.key = (current / "device.key").string();
  States states;
  const auto transport = open(config);
  transport->on_state(into(states));
  get(transport->connect());
  CHECK(eventually([&] { return contains(broker.log(), "u'first-device'"); }));
  broker.stop();
  REQUIRE(reaches(states, State::interrupted));
  switch_to("second");
  broker.start();
  REQUIRE(reaches(states, State::resumed));
  CHECK(eventually([&] { return contains(broker.log(), "u'second-device'"); }));
}

TEST_CASE("connection: the last will is published") {
  const Broker broker;
  for (const auto version : {MqttVersion::v3_1_1, MqttVersion::v5}) {
    Messages messages;
    const auto watcher = open(client_config(broker, "watcher"));
    get(watcher->connect());
    get(watcher->subscribe("will", Qos::at_least_once, into(messages)));
    auto config = client_config(broker, "mortal");
    config.mqtt_version = version;
    config.clean_session = true;
    config.will_topic = "will";
    config.will_message = "gone";
    const auto first = open(config);
    get(first->connect());
    const auto second = open(config);  // the broker drops the first one
    get(second->connect());
    const auto seen = messages.wait_for(1);
    REQUIRE(seen.size() >= 1);
    CHECK(seen[0].payload == "gone");
  }
}

TEST_CASE("connection: close() delivers what it can, and tells") {
  const Broker broker;
  States states;
  const auto transport = open(client_config(broker, "closer"));
  transport->on_state(into(states));
  get(transport->connect());
  constexpr int kMany = 50;
  std::vector<std::future<Delivery>> deliveries;
  deliveries.reserve(kMany);
  for (int i = 0; i < kMany; ++i) deliveries.push_back(transport->publish({"a", "x"}));
  transport->close(std::chrono::seconds(10));
  for (auto& delivery : deliveries) CHECK_NOTHROW(get(std::move(delivery)));
  REQUIRE_FALSE(states.now().empty());
  CHECK(states.now().back().state == State::closed);
  CHECK(contains(error_text([&] { get(transport->publish({"a", "x"})); }), "closed"));
  CHECK(contains(error_text([&] { get(transport->connect()); }), "closed"));
  transport->close(std::chrono::seconds(10));
}

TEST_CASE("connection: the longest deadline of close(), and timeout of a request") {
  const Broker broker;
  const auto transport = open(client_config(broker, "patient"));
  get(transport->connect());
  constexpr auto kLongest = std::chrono::milliseconds::max();
  get(transport->subscribe("a/req", Qos::at_least_once, [&](const Message& message) {
    transport->publish({"a/resp", message.payload});
  }));
  const auto answer =
      get(transport->request({"a/req", R"({"requestId": "111-222-333"})"}, kLongest));
  CHECK(answer.topic == "a/resp");
  std::vector<std::future<Delivery>> deliveries;
  for (int i = 0; i < 50; ++i) deliveries.push_back(transport->publish({"a/req", "x"}));
  transport->close(kLongest);
  for (auto& delivery : deliveries) CHECK_NOTHROW(get(std::move(delivery)));
}

TEST_CASE("connection: close() keeps its deadline, and fails what is left") {
  Broker broker;
  const auto transport = open(client_config(broker, "stuck"));
  get(transport->connect());
  broker.freeze();
  auto delivery = transport->publish({"a", "x"});
  auto granted = transport->subscribe("a", Qos::at_least_once, [](const Message&) {});
  const auto begin = std::chrono::steady_clock::now();
  transport->close(std::chrono::milliseconds(300));
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(2));
  CHECK(contains(error_text([&] { get(std::move(delivery)); }), "closed"));
  CHECK(contains(error_text([&] { get(std::move(granted)); }), "closed"));
}

TEST_CASE("connection: close() while the broker is away") {
  Broker broker;
  States states;
  const auto transport = open(client_config(broker, "away"));
  transport->on_state(into(states));
  get(transport->connect());
  broker.stop();
  REQUIRE(reaches(states, State::interrupted));
  auto delivery = transport->publish({"a", "x"});
  transport->close(std::chrono::seconds(5));
  CHECK(contains(error_text([&] { get(std::move(delivery)); }), "closed"));
}

TEST_CASE("connection: several transports in one process, used from several threads") {
  const Broker broker;
  constexpr int kThreads = 4;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  Messages messages;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&, i] {
      const auto transport = open(client_config(broker, "thread-" + std::to_string(i)));
      get(transport->connect());
      const std::string topic = "threads/" + std::to_string(i);
      get(transport->subscribe(topic, Qos::at_least_once, into(messages)));
      for (int j = 0; j < 20; ++j) get(transport->publish({topic, "x"}));
      messages.wait_for(80);
    });
  for (auto& thread : threads) thread.join();
  CHECK(messages.now().size() == 80);
}
