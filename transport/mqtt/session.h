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
#include "transport/mqtt/backlog.h"
#include "transport/mqtt/correlation.h"
#include "transport/mqtt/outbox.h"
#include "transport/mqtt/paho_callbacks.h"
#include "transport/mqtt/paho_store.h"
#include "transport/mqtt/paho_threads.h"
#include "transport/serial_queue.h"
#include "transport/session_transport.h"
#include "transport/user_handlers.h"

namespace hwid::transport::mqtt_client {

// The state of one MQTT client. Everything here belongs to the tasks of `control_`, which run one
// at a time: public methods of the transport and Paho's callbacks post to it, and it needs no lock;
// Paho is never called with a lock of ours. User handlers run in `handlers_`, so one that
// blocks stops neither Paho nor the control tasks. publish() alone runs on the caller's thread, up
// to where the outbox has the message, and in the only session of a process to where Paho has it.
//
// Each attempt to connect has a Paho client of its own: PahoStore says why.
//
// connection.cpp: connecting and staying connected; closing.cpp: the end; publishing.cpp: messages
// out, requests; subscribing.cpp: filters, messages in.
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
  void want_connection() noexcept { wanted_ = true; }
  void publish(Message message, Outbox::Ended ended);  // throws Error: not accepted

  // On the control thread.
  void connect(Ended ended);
  void subscribe(const std::string& filter, Qos qos, MessageHandler handler, Ended ended);
  void unsubscribe(const std::string& filter, Ended ended);
  void request(Message message, std::chrono::milliseconds timeout,
               std::function<void(const Message*, const Error*)> ended);
  void set_state_handler(StateHandler handler) { handlers_.set_state_handler(std::move(handler)); }

 private:
  enum class Phase { idle, connecting, connected, waiting, closing, closed };
  using Id = std::uint64_t;

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

  struct Listening {
    std::shared_ptr<Listener> listener;
    std::function<void(const Outcome&)> ended;
  };

  // A listener for one request to Paho; `ended` runs on the control thread. (On Paho's own thread,
  // where it is woken by the message's end, it costs more: it waits for Paho's lock.)
  Listener& listen(std::function<void(const Outcome&)> ended);

  void make_client();
  void leave_client(std::function<void()> then);
  void start_attempt();
  void try_to_connect();
  void attempt_ended(const Outcome& outcome);
  void attempt_failed(const Error& error);
  Error explain(const Outcome& outcome);
  void connected(const Outcome& outcome);
  bool follow_keep_alive(const Outcome& outcome);
  void forget_session();
  void connection_lost(const std::string& reason, bool by_a_message);
  void retry_later();
  void begin_close(std::chrono::milliseconds deadline, std::function<void()> closed);
  void disconnect();
  void finish_close();
  void fail_all(const Error& error);
  static void report(const std::vector<Outbox::Finished>& finished);
  void notify(StateChange change) { handlers_.notify(std::move(change)); }
  bool usable() const noexcept { return phase_ != Phase::closing && phase_ != Phase::closed; }
  Error closed_error(const std::string& what) const;

  bool ask_for_pump();
  void pump();
  bool send(Id id, const Message& message);
  void delivered(Id id, Qos qos, const Outcome& outcome);
  void confirmed(Id id);
  void finish(Id id, const Error* error, int reason_code, int packet_id = 0);
  void fail(Id id, ErrorKind kind, const std::string& why, const std::string& next_step);
  void subscribe_for_request(Id id, const std::vector<std::string>& filters,
                             const Message& message);
  void send_request(Id id, const Message& message);
  void request_failed(Id id, const Error& error);

  void send_subscribe(const std::string& filter);
  void subscribe_ended(const std::string& filter, int version, Id attempt, const Outcome& outcome);
  void send_unsubscribe(const std::string& filter, const Ended& ended);
  void taken(Message message);
  void arrived(Message message, const std::shared_ptr<const Backlog::Ticket>& ticket);
  void pause();
  void resume_when_handled(std::chrono::steady_clock::time_point latest);

  const PahoThreads paho_threads_;
  const DeviceConfig config_;
  const Endpoint endpoint_;
  Backoff backoff_;

  Phase phase_ = Phase::idle;
  bool ever_connected_ = false;
  bool disconnecting_ = false;
  bool explained_ = false;  // this outage was looked into
  Id attempt_ = 0;
  Id last_id_ = 0;
  std::chrono::steady_clock::time_point connected_since_;
  std::chrono::steady_clock::time_point sent_at_;  // a message
  std::chrono::seconds keep_alive_;
  bool keep_alive_followed_ = false;  // by this attempt
  bool session_lost_ = false;         // found by an attempt that was replaced
  Credentials credentials_;           // open as long as Paho may read them
  std::vector<Ended> connecting_;
  std::vector<std::function<void()>> closing_;

  Outbox outbox_;
  ServerLimits limits_;
  std::map<std::string, Subscription> subscriptions_;
  std::deque<std::pair<std::string, Ended>> unsubscribing_;
  std::map<Id, Request> requests_;

  const std::shared_ptr<Backlog> backlog_ = std::make_shared<Backlog>();
  std::atomic<bool> pausing_{false};
  std::atomic<std::uint64_t> dropped_{0};  // QoS 0 that came while pausing
  std::map<Id, Listening> listeners_;
  std::atomic<bool> pump_due_{false};  // a task will do it
  std::atomic<bool> wanted_{false};    // connect() was called, and has not failed
  std::atomic<bool> closed_{false};
  PahoStore::Received received_;  // between two clients
  std::unique_ptr<PahoStore> store_;
  std::unique_ptr<mqtt::async_client> client_;
  UserHandlers handlers_;
  SerialQueue control_{"MQTT session"};
};

}  // namespace hwid::transport::mqtt_client
