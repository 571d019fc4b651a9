// What a broker limits or refuses, and handlers that do what they like.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <regex>
#include <set>

#include "client.h"
#include "fake_broker.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)

using Connection = FakeBroker::Connection;

TEST_CASE("limits: what an MQTT 5 broker says in its CONNACK is respected") {
  std::atomic<int> keep_alive{-1};
  std::atomic<int> most{0};
  const FakeBroker broker([&](Connection& connection, int number) {
    FakeBroker::Packet connect;
    if (!connection.read(connect)) return;
    keep_alive = static_cast<unsigned char>(connect.body.at(8)) << 8 |
                 static_cast<unsigned char>(connect.body.at(9));
    std::string properties("\x21\0\2\x24\1\x25\0\x27\0\0\0\x64", 12);
    if (number > 1) properties += std::string("\x13\0\7", 3);  // server keep alive
    connection.write(connack(5, number > 1, properties));
    if (number == 1) return connection.serve(5);
    // Receive maximum 2: no third one before the first is confirmed.
    std::vector<std::string> waiting;
    connection.serve(5, [&](const FakeBroker::Packet& got) {
      if (got.type() != 3) return false;
      waiting.push_back(got.packet_id());
      most = std::max(most.load(), static_cast<int>(waiting.size()));
      if (waiting.size() == 2)
        for (const auto& id : std::exchange(waiting, {})) connection.write(packet(0x40, id));
      return false;
    });
  });
  auto config = config_of(broker, 5);
  States states;
  const auto transport = open(config);
  transport->on_state(into(states));
  get(transport->connect());
  const auto refused = [&](const Message& message) {
    return error_text([&] { get(transport->publish(message)); });
  };
  CHECK(contains(refused({"a", std::string(200, 'x')}), "at most 100 bytes"));
  CHECK(contains(refused({"a", "x", Qos::exactly_once}), "QoS 1 at most"));
  CHECK(contains(refused({"a", "x", Qos::at_least_once, true}), "retained"));
  get(transport->publish({"a", "x"}));
}

TEST_CASE(
    "limits: a message for which the broker ends the connection is given up, others are not") {
  const FakeBroker broker([](Connection& connection, int) {
    connection.accept(packet(0x20, std::string("\1\0", 2)));  // the session is kept
    connection.serve(
        4, [](const FakeBroker::Packet& received) { return contains(received.body, "poison"); });
  });
  States states;
  const auto transport = open(config_of(broker));
  transport->on_state(into(states));
  get(transport->connect());
  auto before = transport->publish({"t", "good", Qos::exactly_once});
  auto poison = transport->publish({"t", "poison", Qos::exactly_once});
  auto after = transport->publish({"t", "good", Qos::at_least_once});
  CHECK_NOTHROW(get(std::move(before)));
  poison.wait_for(2 * kPatience);  // the backoff alone may take most of one
  const auto text = error_text([&] { get(std::move(poison)); });
  CHECK_MESSAGE(contains(text, "5 times in a row"), text);
  CHECK_NOTHROW(get(std::move(after)));
  CHECK(reaches(states, State::interrupted, 5));
}

TEST_CASE("limits: no message is given up for a broker that shuts down again and again") {
  constexpr int kTimes = 5;
  const FakeBroker broker([](Connection& connection, int number) {
    connection.accept(connack(5, number > 1));
    if (number > kTimes) return connection.serve(5);
    connection.serve(5, [](const FakeBroker::Packet& got) { return contains(got.body, "kept"); });
    connection.write(packet(0xe0, std::string("\x8b\0", 2)));
  });
  States states;
  const auto transport = open(config_of(broker, 5));
  transport->on_state(into(states));
  get(transport->connect());
  auto kept = transport->publish({"t", "kept", Qos::at_least_once});
  kept.wait_for(2 * kPatience);  // the backoff alone may take most of one
  CHECK_NOTHROW(get(std::move(kept)));
  CHECK(reaches(states, State::interrupted, kTimes));
}

TEST_CASE("limits: a refusal is told, also of a packet id that an earlier session had") {
  const FakeBroker broker([](Connection& connection, int number) {
    connection.accept(connack(5));  // a new session each time
    FakeBroker::Packet got;
    while (connection.read(got) && got.type() != 3) {
    }
    if (number == 1) return;  // in flight, and the session is lost
    connection.write(
        packet(0x50, got.packet_id() + std::string("\x87\0", 2)));  // PUBREC: not authorized
    connection.serve(5);
  });
  States states;
  const auto transport = open(config_of(broker, 5));
  transport->on_state(into(states));
  get(transport->connect());
  auto refused = transport->publish({"t", "x", Qos::exactly_once});
  REQUIRE(reaches(states, State::resumed));
  const auto text = error_text([&] { get(std::move(refused)); });
  CHECK_MESSAGE(contains(text, "uthorized"), text);
}

TEST_CASE("limits: a disconnect by an MQTT 5 broker is reported by its name") {
  const std::pair<int, const char*> reasons[] = {{0x8b, "shutting down"}, {0x8e, "taken over"},
                                                 {0x95, "too large"},     {0x93, "aximum exceeded"},
                                                 {0x97, "uota"},          {0x98, "dministrative"},
                                                 {0x87, "uthorized"}};
  for (const auto& item : reasons) {
    const FakeBroker broker([&](Connection& connection, int number) {
      connection.accept(connack(5));
      if (number == 1)
        connection.write(packet(0xe0, std::string(1, static_cast<char>(item.first)) + '\0'));
      connection.serve(5);
    });
    States states;
    const auto transport = open(config_of(broker, 5));
    transport->on_state(into(states));
    get(transport->connect());
    REQUIRE(reaches(states, State::resumed));
    std::string reason;
    for (const auto& change : states.now())
      if (change.state == State::interrupted && reason.empty()) reason = change.reason;
    CHECK_MESSAGE(contains(reason, item.second), reason);
  }
}

TEST_CASE("limits: a silent broker is found by keep-alive") {
  const FakeBroker broker([&](Connection& connection, int number) {
    connection.accept(connack(4));
    if (number > 1) return connection.serve(4);
    FakeBroker::Packet packet;
    while (connection.read(packet)) continue;
  });
  auto config = config_of(broker);
  config.keep_alive = std::chrono::seconds(1);
  States states;
  const auto transport = open(config);
  transport->on_state(into(states));
  get(transport->connect());
  CHECK(reaches(states, State::resumed));
}

TEST_CASE("handlers: one may destroy its transport") {
  const Broker broker;
  for (const bool by_state : {false, true}) {
    CAPTURE(by_state);
    auto transport = open(client_config(broker, "suicidal"));
    std::promise<void> gone;
    const auto destroy = [&] {
      transport.reset();
      gone.set_value();
    };
    if (by_state)
      transport->on_state([&](const StateChange& change) {
        if (change.state == State::connected) destroy();
      });
    auto granted =
        transport->subscribe("a", Qos::at_least_once, [&](const Message&) { destroy(); });
    auto connected = transport->connect();
    if (!by_state) {
      get(std::move(connected));
      get(std::move(granted));
      const auto sender = open(client_config(broker, "sender"));
      get(sender->connect());
      get(sender->publish({"a", "x"}));
    }
    get(gone.get_future());
    CHECK(transport == nullptr);
  }
}

TEST_CASE("handlers: a slow one makes the broker wait, and loses nothing") {
  const Broker broker;
  constexpr int kMany = 340;
  const std::string payload(262144, 'x');
  std::promise<void> release;
  auto released = release.get_future().share();
  Log<int> first_arrivals;  // at least once: some may come again
  std::set<int> seen;
  States states;
  const auto slow = open(client_config(broker, "slow"));
  slow->on_state(into(states));
  get(slow->connect());
  get(slow->subscribe("a", Qos::at_least_once, [&](const Message& message) {
    if (seen.empty()) released.wait();
    const int number = std::stoi(message.payload.substr(0, 4));
    if (seen.insert(number).second) first_arrivals.add(number);
  }));
  const auto sender = open(client_config(broker, "sender"));
  get(sender->connect());
  std::vector<std::future<Delivery>> deliveries;
  for (int i = 0; i < kMany; ++i) {
    deliveries.push_back(sender->publish({"a", std::to_string(1000 + i) + payload}));
    if (i % 16 == 15) get(std::move(deliveries.back()));
  }
  // The slow handler is before the state handler, too.
  const std::regex gone("Client slow( \\[[^\\]]*\\])? disconnected");  // newer ones say from where
  CHECK(
      eventually([&] { return std::regex_search(broker.log(), gone); }, std::chrono::seconds(60)));
  release.set_value();
  CHECK(reaches(states, State::resumed));
  const auto numbers = first_arrivals.wait_for(kMany);
  CHECK(numbers.size() == kMany);
  CHECK(std::is_sorted(numbers.begin(), numbers.end()));
  const auto changes = states.now();
  CHECK(std::any_of(changes.begin(), changes.end(), [](const StateChange& change) {
    return change.state == State::interrupted && contains(change.reason, "handlers");
  }));
}
