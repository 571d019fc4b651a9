// Brokers that say what no broker should.
#include <doctest/doctest.h>

#include <atomic>

#include "client.h"
#include "fake_broker.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)

using Connection = FakeBroker::Connection;

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
