#pragma once

#include <hwid/device_config.h>
#include <mqtt/iclient_persistence.h>

#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "transport/mqtt/outbox.h"
#include "transport/mqtt/released_packets.h"

namespace hwid::transport::mqtt_client {

// The outbox as Paho's persistence, where the broker keeps the session; a clean one has nothing to
// go on with, and Paho takes a third longer for each message with any persistence (it copies the
// message for it twice, in memory that it counts). One for each Paho client, and a new Paho client
// for each attempt to connect: what Paho does with its lists at a reconnection (see Outbox) is then
// what it does at its creation, which is to ask for what is in flight.
//
// Paho's keys, each followed by a packet id or a number, and with a 5 before the dash for MQTT 5:
//   s-   PUBLISH sent; removed when it is confirmed. A Paho client reads those of its own version
//        only: what an earlier process sent with another one is written anew
//   sc-  PUBREL sent
//   r-   QoS 2 PUBLISH received; removed at its PUBREL. Kept for the next Paho client of this
//        process, so that it is handed to the application once: with MQTT 5 by Paho, at the
//        PUBLISH; with 3.1.1 by us, at the same time. Paho would do it at the PUBREL, and a
//        message that the broker counts as received would be lost with this process till then
//   c-   a command that waits. Kept in memory only, since the outbox has it; to refuse it would
//        cost an exception for each message
//   q-   a message that arrived and was not taken. Does not occur
// When the broker has no session, Paho asks for all keys and removes them: it is told that there
// are none, since a removal means that the broker confirmed.
//
// Threads: any; Paho calls it with its own lock held. What it throws stays in Paho's C++ layer and
// becomes an error code.
class PahoStore final : public mqtt::iclient_persistence {
 public:
  struct Received {
    std::map<std::string, std::string> packets;  // by Paho's key
    ReleasedPackets released;
  };
  // For what an earlier client sent; this one's own messages have listeners.
  using Confirmed = std::function<void(Outbox::Id)>;
  // MQTT 3.1.1: a PUBLISH of QoS 2 that did not come before. On Paho's thread, with its lock.
  using Arrived = std::function<void(const std::string& packet)>;

  PahoStore(Outbox& outbox, MqttVersion version, Received received, Confirmed confirmed,
            Arrived arrived)
      : outbox_(outbox),
        version_(version),
        confirmed_(std::move(confirmed)),
        arrived_(std::move(arrived)),
        received_(std::move(received)) {}

  // The Paho client was created, and has asked for everything.
  void restored();
  // The client is gone, or was never connected; what it still says of what it sent does not count.
  // What it had received, for its successor.
  Received detach();
  // MQTT 5: whether a message of QoS 2 was released before, and is not to be handed over. Asked of
  // each once, in the order in which they came. (Paho tells neither packet id nor mark.)
  bool was_released(const std::string& topic, const std::string& payload);

  void open(const std::string& client_id, const std::string& server_uri) override;
  void close() override {}
  void clear() override {}
  bool contains_key(const std::string& key) override;
  mqtt::string_collection keys() const override;
  void put(const std::string& key, const std::vector<mqtt::string_view>& buffers) override;
  std::string get(const std::string& key) const override;
  void remove(const std::string& key) override;

 private:
  void put_received(const std::string& key, std::string&& packet);
  void note_repeated(const std::string& packet);

  Outbox& outbox_;
  const MqttVersion version_;
  const Confirmed confirmed_;
  const Arrived arrived_;
  mutable std::mutex mutex_;
  std::vector<Outbox::Sent> sent_;  // at creation
  mutable std::set<int> restored_;  // their packet ids
  mutable Received received_;
  std::deque<std::pair<std::string, std::string>> repeated_;  // of MQTT 5: topic and payload
  std::map<std::string, std::string> commands_;
  bool restoring_ = true;
  bool detached_ = false;
};

}  // namespace hwid::transport::mqtt_client
