#pragma once

#include <hwid/transport.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "transport/backoff.h"
#include "transport/credentials.h"
#include "transport/endpoint.h"
#include "transport/mqtt/correlation.h"
#include "transport/mqtt/paho_callbacks.h"
#include "transport/serial_queue.h"

namespace hwid::transport::mqtt_client {

// How a piece of work ended: nullptr is success.
using Ended = std::function<void(const Error* error)>;

// The state of one MQTT client. Everything here belongs to the tasks of `control_`, which run one
// at a time: public methods of the transport and Paho's callbacks post to it, and it needs no lock;
// Paho is never called with a lock of ours. User handlers are tasks of `handlers_`, so one that
// blocks stops neither Paho nor the control tasks.
//
// connection.cpp: connecting and staying connected; publishing.cpp: messages out, requests;
// subscribing.cpp: filters, messages in.
class Session {
 public:
  explicit Session(const DeviceConfig& config);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  // Runs `body` on the control thread. False: too late, the queue has ended.
  bool post(SerialQueue::Task body) { return control_.post(std::move(body)); }

  // From any thread but the control thread.
  void close(std::chrono::milliseconds deadline);

  // On the control thread.
  void connect(Ended ended);
  void publish(Message message, std::function<void(const Delivery*, const Error*)> ended);
  void subscribe(const std::string& filter, Qos qos, MessageHandler handler, Ended ended);
  void unsubscribe(const std::string& filter, Ended ended);
  void request(Message message, std::chrono::milliseconds timeout,
               std::function<void(const Message*, const Error*)> ended);
  void set_state_handler(StateHandler handler);

 private:
  enum class Phase { idle, connecting, connected, waiting, closing, closed };
  using Id = std::uint64_t;

  struct Outgoing {
    Message message;
    std::function<void(const Delivery*, const Error*)> ended;
  };
  struct Subscription {
    Qos qos = Qos::at_least_once;
    std::shared_ptr<const MessageHandler> handler;  // null: for requests only
    bool for_requests = false;
    bool granted = false;  // by the broker's present session, as far as we know
    int version = 0;       // of qos: an answer to an older SUBSCRIBE does not count
    std::vector<Ended> waiting;
  };
  struct Request {
    Correlation correlation;
    std::function<void(const Message*, const Error*)> ended;
  };

  // A listener for one request to Paho; `ended` runs on the control thread.
  Listener& listen(std::function<void(const Outcome&)> ended);

  void start_attempt();
  void attempt_ended(const Outcome& outcome);
  void attempt_failed(const Error& error);
  Error explain(const Outcome& outcome);
  void connected(bool session_present);
  void connection_lost(const std::string& reason);
  void retry_later();
  void begin_close(std::chrono::milliseconds deadline, std::function<void()> closed);
  void disconnect();
  void finish_close();
  void fail_all(const Error& error);
  void notify(StateChange change);
  bool usable() const noexcept { return phase_ != Phase::closing && phase_ != Phase::closed; }
  Error closed_error(const std::string& what) const;

  void send(Outgoing outgoing);
  void delivered(Id id, const Outcome& outcome);
  void send_waiting();
  void send_request(Id id, const Message& message);
  void request_failed(Id id, const Error& error);

  void send_subscribe(const std::string& filter);
  void subscribe_ended(const std::string& filter, int version, Id attempt, const Outcome& outcome);
  void send_unsubscribe(const std::string& filter, const Ended& ended);
  void arrived(Message message);

  const DeviceConfig config_;
  const Endpoint endpoint_;
  Backoff backoff_;

  Phase phase_ = Phase::idle;
  bool ever_connected_ = false;
  bool explained_ = false;  // this outage was looked into
  Id attempt_ = 0;
  Id last_id_ = 0;
  std::chrono::steady_clock::time_point connected_since_;
  Credentials credentials_;  // open as long as Paho may read them
  std::vector<Ended> connecting_;
  std::vector<std::function<void()>> closing_;
  std::shared_ptr<const StateHandler> state_handler_;

  std::deque<Outgoing> waiting_;
  std::map<Id, Outgoing> in_flight_;
  std::map<std::string, Subscription> subscriptions_;
  std::deque<std::pair<std::string, Ended>> unsubscribing_;
  std::map<Id, Request> requests_;

  std::map<Id, std::shared_ptr<Listener>> listeners_;
  std::atomic<bool> muted_{false};
  std::unique_ptr<mqtt::async_client> client_;
  SerialQueue handlers_{"handler"};
  SerialQueue control_{"MQTT session"};
};

}  // namespace hwid::transport::mqtt_client
