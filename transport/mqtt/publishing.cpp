// Session: messages out, and requests that wait for an answer.
#include "transport/mqtt/message_check.h"
#include "transport/mqtt/message_conversion.h"
#include "transport/mqtt/session.h"

namespace hwid::transport::mqtt_client {

namespace {

constexpr int kFirstRefusalV5 = 0x80;
constexpr Qos kAnswerQos = Qos::at_least_once;

void tell(const Outbox::Finished& finished, const Error* error, int reason_code) {
  const Delivery delivery{finished.packet_id, reason_code};
  if (finished.ended)
    finished.ended(error != nullptr ? nullptr : &delivery, error);
  else if (error != nullptr)  // accepted by an earlier process
    log_line(error->what());
}

}  // namespace

void Session::publish(Message message, Outbox::Ended ended) {
  if (closed_) throw closed_error("publish");
  if (!wanted_ && !outbox_.in_spool())
    throw Error(ErrorKind::usage, "publish", message.topic, "there is no connection",
                "call connect() first");
  check_message(message, config_);
  outbox_.accept(std::move(message), Outbox::Keep::in_spool, std::move(ended));
  // To wake a thread costs more than to send. But Paho has one lock for all clients of the process,
  // and holds it while another one looks for its broker, shakes hands, or writes to its spool.
  const bool alone = PahoThreads::has_one_session() && !outbox_.in_spool();
  const bool here = alone && control_.run_now([this] { pump(); });
  if (!here && !ask_for_pump()) throw closed_error("publish");
}

// One task for all that was accepted until it runs. False: too late.
bool Session::ask_for_pump() {
  if (pump_due_.exchange(true)) return true;
  return post([this] {
    pump_due_ = false;
    pump();
  });
}

void Session::report(const std::vector<Outbox::Finished>& finished) {
  for (const auto& item : finished) tell(item, item.error ? &*item.error : nullptr, 0);
}

void Session::pump() {
  report(outbox_.take_dropped());
  if (phase_ != Phase::connected && phase_ != Phase::closing) {
    // Accepted while the transport was closed.
    if (phase_ == Phase::closed) fail_all(closed_error("publish"));
    return;
  }
  while (const auto next = outbox_.hand_over())
    if (!send(next->first, *next->second)) return;
  if (phase_ == Phase::closing && outbox_.empty()) disconnect();
}

// False: the connection is broken, and its callback on the way.
bool Session::send(Id id, const Message& message) {
  if (const auto refusal = limits_.refusal(message)) {
    finish(id, &*refusal, 0);
    return true;
  }
  auto& listener =
      listen([this, id, qos = message.qos, attempt = attempt_](const Outcome& outcome) {
        if (attempt == attempt_) delivered(id, qos, outcome);
      });
  const Id listening = last_id_;
  try {
    client_->publish(to_paho(message), nullptr, listener);
    sent_at_ = std::chrono::steady_clock::now();
    return true;
  } catch (const mqtt::exception& exception) {
    listeners_.erase(listening);
    outbox_.take_back(id);
    if (exception.get_return_code() == MQTTASYNC_DISCONNECTED) return false;
    fail(id, ErrorKind::environment, exception.what(), {});
    return true;
  }
}

void Session::delivered(Id id, Qos qos, const Outcome& outcome) {
  if (outcome.ok) {
    backoff_.reset();  // a connection that was of use
    finish(id, nullptr, outcome.reason, outcome.packet_id);
  } else if (outcome.reason >= kFirstRefusalV5) {
    fail(id, ErrorKind::refused,
         "the broker refused: " + mqtt::exception::reason_code_str(outcome.reason),
         "check the policy of this client for the topic");
  } else if (qos == Qos::at_most_once) {
    fail(id, ErrorKind::closed,
         "the connection broke before the message was written (" + outcome.text + ")",
         "publish again");
  }  // else Paho gave up: connection_lost() follows and decides
  pump();
}

// What an earlier client sent.
void Session::confirmed(Id id) {
  finish(id, nullptr, 0);
  pump();
}

void Session::finish(Id id, const Error* error, int reason_code, int packet_id) {
  auto finished = outbox_.finish(id);
  if (!finished) return;
  if (finished->packet_id == 0) finished->packet_id = packet_id;
  tell(*finished, error, reason_code);
}

void Session::fail(Id id, ErrorKind kind, const std::string& why, const std::string& next_step) {
  const auto finished = outbox_.finish(id);
  if (!finished) return;
  const Error error(kind, "publish", finished->message->topic, why, next_step);
  tell(*finished, &error, 0);
}

void Session::request(Message message, std::chrono::milliseconds timeout,
                      std::function<void(const Message*, const Error*)> ended) {
  if (!usable()) throw closed_error("request");
  if (phase_ == Phase::idle)
    throw Error(ErrorKind::usage, "request", message.topic, "there is no connection",
                "call connect() first");
  Correlation correlation(message, config_);
  check_message(message, config_);
  const auto filters = correlation.filters();
  for (const auto& filter : filters) cloud::check_subscribe(config_, filter, kAnswerQos);
  const Id id = ++last_id_;
  requests_.emplace(id, Request{std::move(correlation), std::move(ended)});
  control_.post_after(timeout, [this, id, timeout, filter = filters.front()] {
    request_failed(id, Error(ErrorKind::timeout, "request", filter,
                             "no answer within " + std::to_string(timeout.count()) + " ms",
                             "check that the other side runs, and that this client's policy lets "
                             "it subscribe to and receive from the topic"));
  });

  subscribe_for_request(id, filters, message);
}

// The request goes out when the last of the filters on which its answer may come is granted.
void Session::subscribe_for_request(Id id, const std::vector<std::string>& filters,
                                    const Message& message) {
  if (filters.empty()) return send_request(id, message);
  const std::string& filter = filters.front();
  std::vector<std::string> others(filters.begin() + 1, filters.end());
  auto& subscription = subscriptions_[filter];
  subscription.for_requests = true;
  if (subscription.granted && phase_ == Phase::connected)
    return subscribe_for_request(id, others, message);
  const bool asked = !subscription.waiting.empty();
  subscription.waiting.emplace_back([this, id, others, message](const Error* error) {
    if (error != nullptr)
      request_failed(id, *error);
    else
      subscribe_for_request(id, others, message);
  });
  if (!asked && phase_ == Phase::connected) send_subscribe(filter);
}

void Session::send_request(Id id, const Message& message) {
  if (requests_.count(id) == 0) return;  // timed out meanwhile
  try {
    outbox_.accept(message, Outbox::Keep::in_memory,
                   [this, id](const Delivery*, const Error* error) {
                     if (error != nullptr) request_failed(id, *error);
                   });
  } catch (const Error& error) {
    return request_failed(id, error);
  }
  pump();
}

void Session::request_failed(Id id, const Error& error) {
  const auto failed = requests_.extract(id);
  if (!failed.empty()) failed.mapped().ended(nullptr, &error);
}

}  // namespace hwid::transport::mqtt_client
