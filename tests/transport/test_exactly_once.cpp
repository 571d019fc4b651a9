// QoS 2 over connections that break, and brokers that forget.
#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <optional>

#include "client.h"
#include "fake_broker.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)

using Connection = FakeBroker::Connection;

TEST_CASE("exactly once: QoS 2 is handed over once, wherever the connection broke") {
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

TEST_CASE("exactly once: QoS 2 with the packet id of a message before it is handed over, too") {
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

TEST_CASE("exactly once: QoS 2 goes on with another MQTT version") {
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

TEST_CASE("exactly once: QoS 2 is sent again byte for byte, wherever the connection broke") {
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

// mosquitto 2.0.11 does so when it is started twice on its saved state.
TEST_CASE("exactly once: QoS 2 that was released and comes again is handed over once") {
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

// As after a connection that broke while the broker had sent more than had arrived.
TEST_CASE("exactly once: QoS 2 that first comes as a duplicate comes again when it was released") {
  for (const int version : {4, 5}) {
    CAPTURE(version);
    constexpr int kBefore = 70;
    const FakeBroker broker([&](Connection& connection, int number) {
      const auto hand_over = [&](int id, bool dup) {
        const auto is = [](int type) {
          return [type](const FakeBroker::Packet& got) { return got.type() == type; };
        };
        connection.write(publish(version, 2, id, "a", std::to_string(id), dup));
        connection.serve(version, is(5));
        connection.write(packet(0x62, std::string("\0", 1) + static_cast<char>(id)));
        connection.serve(version, is(7));
      };
      connection.accept(connack(version, number > 1));
      if (number == 1) {
        connection.serve(version, [](const FakeBroker::Packet& got) { return got.type() == 8; });
        for (int id = 1; id <= kBefore; ++id) hand_over(id, false);
        return;
      }
      hand_over(kBefore + 1, true);
      hand_over(kBefore + 2, true);
      if (number == 2) return;
      hand_over(kBefore + 3, false);
      connection.serve(version);
    });
    Messages messages;
    const auto transport = open(config_of(broker, version));
    auto granted = transport->subscribe("a", Qos::exactly_once, into(messages));
    get(transport->connect());
    const std::size_t expected = kBefore + 3;
    CHECK(messages.wait_for(expected).size() == expected);
    transport->close(std::chrono::seconds(1));
    CHECK(messages.now().size() == expected);
    CHECK(messages.now().back().payload == std::to_string(kBefore + 3));
  }
}

TEST_CASE("exactly once: QoS 2 that was released comes again from among all that was under way") {
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
