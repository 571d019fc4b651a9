// Brokers that say what no broker should, and handlers that do what they like.
#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <regex>
#include <set>
#include <thread>

#include "client.h"
#include "fake_broker.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)

namespace {

using Connection = FakeBroker::Connection;

DeviceConfig config_of(const FakeBroker& broker, int version = 4) {
  DeviceConfig config;
  config.endpoint = "mqtt://127.0.0.1:" + std::to_string(broker.port());
  config.allow_plaintext = true;
  config.client_id = "victim";
  config.mqtt_version = version == 5 ? MqttVersion::v5 : MqttVersion::v3_1_1;
  return config;
}

MessageHandler into(Messages& messages) {
  return [&messages](const Message& message) { messages.add(message); };
}

StateHandler into(States& states) {
  return [&states](const StateChange& change) { states.add(change); };
}

}  // namespace

TEST_CASE("hostile: what comes instead of a CONNACK is an error of connect()") {
  const std::string answers[] = {
      "HTTP/1.1 400 Bad Request\r\n\r\n",
      std::string(8, '\xff'),                  // a remaining length of five bytes
      packet(0x20, ""),                        // too short
      packet(0x20, std::string("\0\5", 2)),    // not authorized
      packet(0x90, std::string("\0\1\0", 3)),  // SUBACK
      publish(4, 0, 0, "a", "x"),              //
      packet(0x40, ""),                        // PUBACK without an id
      packet(0xf0, ""),
      packet(0x00, ""),
      "",  // closed
  };
  for (const int version : {4, 5}) {
    for (const auto& answer : answers) {
      CAPTURE(version);
      CAPTURE(answer);
      const FakeBroker broker([&](Connection& connection, int) { connection.accept(answer); });
      const auto error = connect_error(config_of(broker, version));
      CHECK_MESSAGE(contains(error, "127.0.0.1"), error);
    }
  }
}

TEST_CASE("hostile: a broker that never answers is left after a while, and by close() at once") {
  const FakeBroker broker([](Connection& connection, int) {
    FakeBroker::Packet packet;
    while (connection.read(packet)) continue;
  });
  const auto transport = open(config_of(broker));
  auto connected = transport->connect();
  CHECK(eventually([&] { return broker.connections() == 1; }));
  const auto begin = std::chrono::steady_clock::now();
  transport->close(std::chrono::milliseconds(200));
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(2));
  CHECK(contains(error_text([&] { get(std::move(connected)); }), "closed"));
}

TEST_CASE("hostile: malformed packets end the connection or are ignored, never more") {
  for (const int version : {4, 5}) {
    const std::string packets[] = {
        packet(0x30, "\xff\xff topic that is too short"),
        packet(0x30, ""),
        packet(0x32, field("a")),  // QoS 1 without an id
        packet(0x34, field("a") + "\1"),
        packet(0x36, field("a") + "\1\1"),                           // QoS 3
        packet(0x30, field("") + std::string(1, '\0')),              // no topic
        packet(0x30, field("a") + "\x7f" + std::string(4, '\xff')),  // properties too long
        packet(0x30, field("a") + "\2\xee\1"),                       // an unknown property
        packet(0x30, field("\xc0\x80")),                             // not UTF-8
        packet(0x40, std::string("\x77\x77", 2)),                    // an id nobody sent
        packet(0x50, std::string("\x77\x77", 2)),
        packet(0x62, std::string("\x77\x77", 2)),
        packet(0x70, std::string("\x77\x77", 2)),
        packet(0x90, std::string("\x77\x77\0\0", 4)),
        packet(0xb0, std::string("\x77\x77\0\0", 4)),
        packet(0x10, field("MQTT")),  // CONNECT
        packet(0x82, std::string("\0\1", 2) + field("a") + "\1"),
        packet(0xc0, ""),
        packet(0xd0, "more than a PINGRESP"),
        packet(0xf0, std::string(1000, 'x')),
        packet(0x20, std::string("\0\0", 2)),  // a second CONNACK
        "\x30\xff\xff\xff\xff\xff\x01",
    };
    for (const auto& bad : packets) {
      CAPTURE(version);
      CAPTURE(bad);
      const FakeBroker broker([&](Connection& connection, int number) {
        connection.accept(connack(version));
        if (number == 1) connection.write(bad);
        connection.serve(version);
      });
      Messages messages;
      const auto transport = open(config_of(broker, version));
      auto granted = transport->subscribe("#", Qos::at_least_once, into(messages));
      get(transport->connect());
      get(std::move(granted));
      get(transport->publish({"a", "still there"}));
    }
  }
}

TEST_CASE("hostile: an endless packet is not waited for by close()") {
  std::atomic<std::uint64_t> sent{0};
  const FakeBroker broker([&](Connection& connection, int) {
    connection.accept(connack(4));
    connection.write(std::string("\x30\xff\xff\xff\x7f\0\1a", 8));  // 256 MiB
    const std::string part(65536, 'x');
    while (sent < 64UL * 1024 * 1024 && connection.write(part)) sent += part.size();
    FakeBroker::Packet packet;
    connection.read(packet);
  });
  const auto transport = open(config_of(broker));
  get(transport->connect());
  CHECK(eventually([&] { return sent >= 8UL * 1024 * 1024; }));
  const auto begin = std::chrono::steady_clock::now();
  transport->close(std::chrono::milliseconds(500));
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(3));
}

TEST_CASE("hostile: QoS 2 is handed over once, wherever the connection broke") {
  for (const int version : {4, 5}) {
    for (const bool again : {false, true}) {
      CAPTURE(version);
      CAPTURE(again);
      constexpr int kId = 7;
      const std::string id("\0\7", 2);
      std::atomic<bool> completed{false};
      std::atomic<bool> handed_over{false};
      Messages messages;
      const FakeBroker broker([&](Connection& connection, int number) {
        const auto is = [](int type) {
          return [type](const FakeBroker::Packet& got) { return got.type() == type; };
        };
        connection.accept(connack(version, number > 1));
        if (number == 1) {
          connection.serve(version, is(8));  // the SUBSCRIBE
          connection.write(publish(version, 2, kId, "a", "once"));
          connection.serve(version, is(5));  // PUBREC
          return;
        }
        handed_over = messages.wait_for(1).size() == 1;  // before anybody released it
        if (again) {
          connection.write(publish(version, 2, kId, "a", "once", true));
          connection.serve(version, is(5));
        }
        connection.write(packet(0x62, id));
        connection.serve(version, is(7));  // PUBCOMP
        connection.write(publish(version, 2, kId, "a", "next"));
        connection.serve(version, is(5));
        connection.write(packet(0x62, id));
        connection.serve(version, is(7));
        completed = true;
        connection.serve(version);
      });
      const auto transport = open(config_of(broker, version));
      auto granted = transport->subscribe("a", Qos::exactly_once, into(messages));
      get(transport->connect());
      CHECK(eventually([&] { return completed.load(); }));
      CHECK(handed_over);
      const auto seen = messages.wait_for(2);
      REQUIRE(seen.size() == 2);
      CHECK(seen[0].payload == "once");
      CHECK(seen[1].payload == "next");
      transport->close(std::chrono::seconds(1));
      CHECK(messages.now().size() == 2);
    }
  }
}

TEST_CASE("hostile: QoS 2 with the packet id of a message before it is handed over, too") {
  // A broker that lost the session, and one that was set back to before it had sent the first one.
  // (Of MQTT 5, Paho goes by the packet id alone, as the standard lets it.)
  for (const auto& kind : {std::pair(4, true), std::pair(4, false), std::pair(5, false)}) {
    const int version = kind.first;
    const bool keeps_session = kind.second;
    CAPTURE(version);
    CAPTURE(keeps_session);
    constexpr int kId = 7;
    const FakeBroker broker([&](Connection& connection, int number) {
      const std::string text = number == 1 ? "first" : "second";
      connection.accept(connack(version, keeps_session && number > 1));
      if (number == 1 || !keeps_session)
        connection.serve(version, [](const FakeBroker::Packet& got) { return got.type() == 8; });
      connection.write(publish(version, 2, kId, "a", text));
      connection.serve(version, [&](const FakeBroker::Packet& got) {
        return number == 1 && got.type() == 5;  // gone after the PUBREC
      });
    });
    Messages messages;
    const auto transport = open(config_of(broker, version));
    auto granted = transport->subscribe("a", Qos::exactly_once, into(messages));
    get(transport->connect());
    const auto seen = messages.wait_for(2);
    REQUIRE(seen.size() == 2);
    CHECK(seen[1].payload == "second");
    transport->close(std::chrono::seconds(1));
  }
}

TEST_CASE("hostile: QoS 2 goes on with another MQTT version") {
  for (const int before : {4, 5}) {
    CAPTURE(before);
    const TemporaryDirectory spool;
    std::atomic<int> version{before};
    std::string sent[2];
    std::atomic<int> count{0};
    const FakeBroker broker([&](Connection& connection, int number) {
      const bool is_first = version == before;
      if (is_first && number > 1) return;
      connection.accept(connack(version, !is_first));
      connection.serve(version, [&](const FakeBroker::Packet& got) {
        if (got.type() != 3 || count == 2) return false;
        sent[count] = got.body;
        ++count;
        return is_first;
      });
    });
    auto config = config_of(broker, before);
    config.spool_dir = spool.path().string();
    {
      const auto transport = open(config);
      get(transport->connect());
      const auto delivery = transport->publish({"a", "once", Qos::exactly_once});
      REQUIRE(eventually([&] { return count == 1; }));
      transport->close(std::chrono::milliseconds(100));
    }
    version = 9 - before;
    config.mqtt_version = version == 5 ? MqttVersion::v5 : MqttVersion::v3_1_1;
    const auto transport = open(config);
    get(transport->connect());
    REQUIRE(eventually([&] { return count == 2; }));
    transport->close(std::chrono::seconds(1));
    const std::string none(1, '\0');  // properties
    const std::string id_and_topic = sent[0].substr(0, 5);
    CHECK(sent[0] == id_and_topic + (before == 5 ? none : "") + "once");
    CHECK(sent[1] == id_and_topic + (before == 4 ? none : "") + "once");
  }
}

TEST_CASE("hostile: QoS 2 is sent again byte for byte, wherever the connection broke") {
  for (const int version : {4, 5}) {
    CAPTURE(version);
    std::string sent[2];
    std::atomic<bool> completed{false};
    const FakeBroker broker([&](Connection& connection, int number) {
      connection.accept(connack(version, number > 1));
      connection.serve(version, [&](const FakeBroker::Packet& got) {
        constexpr char kDup = 0x08;
        if (got.type() == 3 && number <= 2) {
          sent[number - 1] = got.body;
          CHECK((got.header & kDup) == (number == 1 ? 0 : kDup));
        }
        if (got.type() == 6) completed = true;  // the PUBREL
        return got.type() == 3 && number == 1;
      });
    });
    const auto transport = open(config_of(broker, version));
    get(transport->connect());
    get(transport->publish({"a", "once", Qos::exactly_once}));
    CHECK(completed);
    transport->close(std::chrono::seconds(1));
    CHECK(contains(sent[0], "once"));
    CHECK(sent[0] == sent[1]);
  }
}

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

// mosquitto 2.0.11 does so when it is started twice on its saved state.
TEST_CASE("hostile: QoS 2 that was released and comes again is handed over once") {
  for (const int version : {4, 5}) {
    for (const std::string ids : {"counted up", "the lowest", "the lowest, many under way"}) {
      CAPTURE(version);
      CAPTURE(ids);
      constexpr int kBefore = 70;
      const bool counts_up = ids == "counted up";
      const bool together = ids.ends_with("way");
      const int last = counts_up ? kBefore : 1;
      const FakeBroker broker([&](Connection& connection, int number) {
        const auto is = [](int type) {
          return [type](const FakeBroker::Packet& got) { return got.type() == type; };
        };
        const auto send = [&](int id, const std::string& text, bool dup) {
          connection.write(publish(version, 2, id, "a", text, dup));
          connection.serve(version, is(5));
        };
        const auto release = [&](int id) {
          connection.write(packet(0x62, std::string("\0", 1) + static_cast<char>(id)));
          connection.serve(version, is(7));
        };
        const auto hand_over = [&](int id, const std::string& text, bool dup) {
          send(id, text, dup);
          release(id);
        };
        connection.accept(connack(version, number > 1));
        if (number == 1) {
          connection.serve(version, is(8));
          for (int i = 1; i <= kBefore; ++i) {
            if (together)
              send(i, "alive", false);
            else
              hand_over(counts_up ? i : 1, "alive", false);
          }
          for (int i = 1; together && i <= kBefore; ++i) release(i);
          return;
        }
        hand_over(last, "alive", true);
        hand_over(counts_up ? last + 1 : 1, "end", false);
        connection.serve(version);
      });
      Messages messages;
      const auto transport = open(config_of(broker, version));
      auto granted = transport->subscribe("a", Qos::exactly_once, into(messages));
      get(transport->connect());
      // Of a broker that takes an id anew at once, the duplicate is of a message that was lost.
      const std::size_t expected = kBefore + (counts_up ? 0 : 1) + 1;
      const auto seen = messages.wait_for(expected);
      CHECK(seen.size() == expected);
      REQUIRE(!seen.empty());
      CHECK(seen.back().payload == "end");
      transport->close(std::chrono::seconds(1));
      CHECK(messages.now().size() == expected);
    }
  }
}

TEST_CASE("hostile: QoS 2 that was released comes again from among all that was under way") {
  struct Case {
    std::optional<std::uint16_t> receive_maximum;
    int told;
  };
  for (const Case& each : {Case{std::nullopt, 64}, Case{150, 150}}) {
    const int most = each.told;
    CAPTURE(most);
    std::promise<std::string> connect;
    const FakeBroker broker([&](Connection& connection, int number) {
      const auto is = [](int type) {
        return [type](const FakeBroker::Packet& got) { return got.type() == type; };
      };
      const auto send = [&](int id, bool dup) {
        connection.write(publish(5, 2, id, "a", std::to_string(id), dup));
        connection.serve(5, is(5));
      };
      const auto release = [&](int id) {
        connection.write(packet(0x62, std::string("\0", 1) + static_cast<char>(id)));
        connection.serve(5, is(7));
      };
      FakeBroker::Packet first;
      connection.read(first);
      if (number == 1) connect.set_value(first.body);
      connection.write(connack(5, number > 1));
      if (number > 1) {
        // The oldest of those under way, whose release is forgotten.
        send(most + 2 - (most - 1), true);
        release(most + 2 - (most - 1));
        send(most + 3, false);
        release(most + 3);
        connection.serve(5);
        return;
      }
      connection.serve(5, is(8));
      for (const int id : {1, 2}) {
        send(id, false);
        release(id);
      }
      for (int id = 3; id <= most + 2; ++id) send(id, false);
      for (int id = 3; id <= most + 2; ++id) release(id);
    });
    DeviceConfig config = config_of(broker, 5);
    config.receive_maximum = each.receive_maximum;
    Messages messages;
    const auto transport = open(config);
    auto granted = transport->subscribe("a", Qos::exactly_once, into(messages));
    get(transport->connect());
    const std::string receive_maximum = {'\x21', '\0', static_cast<char>(most)};
    CHECK(contains(connect.get_future().get(), receive_maximum));
    const auto expected = static_cast<std::size_t>(most) + 3;
    const auto seen = messages.wait_for(expected);
    CHECK(seen.size() == expected);
    transport->close(std::chrono::seconds(1));
    CHECK(messages.now().size() == expected);
  }
}
