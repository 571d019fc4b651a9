#pragma once

#include <hwid/transport.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "broker.h"

namespace hwid::test {

// A broker of a test's own, over plain TCP, that says what the test wants.
class FakeBroker {
 public:
  struct Packet {
    std::uint8_t header = 0;
    std::string body;
    int type() const noexcept { return header >> 4; }
    int qos() const noexcept { return header >> 1 & 3; }
    // Of a PUBLISH with QoS 1 or 2.
    std::string packet_id() const;
  };

  class Connection {
   public:
    Connection(int fd, const std::atomic<bool>& stopped) : fd_(fd), stopped_(stopped) {}
    // False when the other side has gone, or the test is over.
    bool read(Packet& packet);
    bool write(const std::string& bytes);
    // Reads the CONNECT, and answers with these bytes.
    bool accept(const std::string& connack);
    // Answers as a broker does, for this MQTT version, until the other side goes or `until` is
    // true for a packet (which is not answered).
    void serve(int version, const std::function<bool(const Packet&)>& until = nullptr);

   private:
    bool read_bytes(char* to, std::size_t size);

    const int fd_;
    const std::atomic<bool>& stopped_;
  };

  // `script` is run for each connection, one after the other, with its number from 1.
  using Script = std::function<void(Connection&, int)>;
  explicit FakeBroker(Script script);
  FakeBroker(const FakeBroker&) = delete;
  FakeBroker& operator=(const FakeBroker&) = delete;
  ~FakeBroker();

  int port() const noexcept { return port_; }
  int connections() const noexcept { return connections_; }

 private:
  void run();

  const Script script_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<int> connections_{0};
  std::atomic<bool> stopped_{false};
  std::thread thread_;
};

// A client of this broker, for MQTT `version` 4 (3.1.1) or 5.
transport::DeviceConfig config_of(const FakeBroker& broker, int version = 4);

// An MQTT packet: fixed header, remaining length, body.
std::string packet(int header, const std::string& body);
// An MQTT string: its length in two bytes in front.
std::string field(const std::string& text);
// A CONNACK that accepts; `properties` are those of MQTT 5 without their length.
std::string connack(int version, bool session_present = false, const std::string& properties = {});
// A PUBLISH; `packet_id` 0 for QoS 0.
std::string publish(int version, int qos, int packet_id, const std::string& topic,
                    const std::string& payload, bool dup = false);

}  // namespace hwid::test
