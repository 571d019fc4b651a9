#pragma once

#include <hwid/transport.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "transport/backoff.h"
#include "transport/endpoint.h"
#include "transport/https/curl_loop.h"
#include "transport/https/exchange.h"
#include "transport/session_transport.h"
#include "transport/user_handlers.h"

namespace hwid::transport::https {

// Messages to one server. HTTPS has no session: connect() makes one TLS connection to see that
// server, certificate and key fit, and from then on messages are posted one after the other, so
// that they arrive in order, and requests beside them, a few at once. A message of at_least_once is
// sent again while the server is away or overloaded; that is State::interrupted, until one got
// through.
//
// Everything here belongs to the thread of `loop_`; user handlers run on that of `handlers_`.
class Session {
 public:
  explicit Session(const DeviceConfig& config);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  // Runs `body` on the loop's thread. False: too late, it has ended.
  bool post(CurlLoop::Task body) { return loop_.post(std::move(body)); }

  // From any thread but the loop's.
  void publish(Message message, std::function<void(const Delivery*, const Error*)> ended);
  void close(std::chrono::milliseconds deadline);

  // On the loop's thread.
  void connect(Ended ended);
  void subscribe(const std::string& filter, Qos qos, const MessageHandler& handler,
                 const Ended& ended);
  void unsubscribe(const std::string& filter, const Ended& ended);
  void request(Message message, std::chrono::milliseconds timeout,
               std::function<void(const Message*, const Error*)> ended);
  void set_state_handler(StateHandler handler) { handlers_.set_state_handler(std::move(handler)); }

 private:
  enum class Phase { idle, connecting, connected, closing, closed };
  using Id = std::uint64_t;

  struct Outgoing {
    std::string topic;
    std::string payload;
    Qos qos;
    HttpRequest request;
    std::function<void(const Delivery*, const Error*)> ended;
  };
  struct Request {
    std::string topic;
    std::string payload;
    HttpRequest request;
    std::chrono::steady_clock::time_point deadline;
    std::unique_ptr<Exchange> exchange;  // none: it waits for one of the others to end
    std::function<void(const Message*, const Error*)> ended;
  };

  void accept(Message message, std::function<void(const Delivery*, const Error*)> ended);
  void check_usable(const std::string& what, const std::string& topic) const;
  void connect_ended(CURLcode result);
  void connect_failed(const Error& error);
  void send_next();
  void send_ended(CURLcode result);
  void send_again(const Error& why, std::chrono::milliseconds wait);
  void got_through();
  void start_requests();
  void request_ended(Id id, CURLcode result);
  void request_expired(Id id, std::chrono::milliseconds timeout);
  void begin_close(std::chrono::milliseconds deadline, std::function<void()> closed);
  void close_if_done();
  void finish_close();
  void fail_all(const Error& error);
  void notify(StateChange change) { handlers_.notify(std::move(change)); }
  Error closed_error(const std::string& what) const;

  const DeviceConfig config_;
  const Endpoint endpoint_;
  Backoff backoff_;

  Phase phase_ = Phase::idle;
  bool interrupted_ = false;
  bool backing_off_ = false;
  Id last_id_ = 0;
  std::vector<Ended> connecting_;
  std::vector<std::function<void()>> closing_;

  std::deque<Outgoing> waiting_;        // the first one is on its way where there is an exchange
  std::unique_ptr<Exchange> exchange_;  // of connect() or publish()
  std::map<Id, Request> requests_;
  std::deque<Id> waiting_requests_;  // some may have ended meanwhile

  UserHandlers handlers_;
  CurlLoop loop_;
};

}  // namespace hwid::transport::https
