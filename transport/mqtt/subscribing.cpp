// Session: filters, and messages in.
#include "transport/cloud/rules.h"
#include "transport/mqtt/session.h"
#include "transport/topic.h"

namespace hwid::transport::mqtt_client {

namespace {

constexpr int kFirstRefusal = 0x80;  // of SUBACK in both versions
constexpr std::chrono::seconds kLongestPause{10};
constexpr std::chrono::milliseconds kLookAtBacklog{20};

}  // namespace

void Session::subscribe(const std::string& filter, Qos qos, MessageHandler handler, Ended ended) {
  if (!usable()) throw closed_error("subscribe");
  check_topic_filter(filter);
  cloud::check_subscribe(config_, filter, qos);
  if (!handler) throw Error(ErrorKind::usage, "subscribe", filter, "there is no handler");
  auto& subscription = subscriptions_[filter];
  subscription.qos = qos;
  subscription.handler = std::make_shared<const MessageHandler>(std::move(handler));
  subscription.granted = false;
  subscription.version++;
  subscription.waiting.push_back(std::move(ended));
  if (phase_ == Phase::connected) send_subscribe(filter);
}

void Session::send_subscribe(const std::string& filter) {
  const auto& subscription = subscriptions_[filter];
  const auto ended = [this, filter, version = subscription.version,
                      attempt = attempt_](const Outcome& outcome) {
    subscribe_ended(filter, version, attempt, outcome);
  };
  try {
    client_->subscribe(filter, static_cast<int>(subscription.qos), nullptr, listen(ended));
  } catch (const mqtt::exception& exception) {
    // A broken connection: connected() sends it again.
    if (exception.get_return_code() == MQTTASYNC_DISCONNECTED) return;
    const Error error(ErrorKind::environment, "subscribe", filter, exception.what());
    const auto failed = subscriptions_.extract(filter);
    for (const auto& waiting : failed.mapped().waiting) waiting(&error);
  }
}

void Session::subscribe_ended(const std::string& filter, int version, Id attempt,
                              const Outcome& outcome) {
  const auto found = subscriptions_.find(filter);
  if (found == subscriptions_.end() || found->second.version != version || attempt != attempt_)
    return;
  int code = outcome.ok ? 0 : outcome.code;
  if (outcome.ok && !outcome.granted.empty()) code = outcome.granted.front();
  if (!outcome.ok && outcome.reason >= kFirstRefusal) code = outcome.reason;
  if (outcome.ok && code < kFirstRefusal) {
    found->second.granted = true;
    for (const auto& waiting : std::exchange(found->second.waiting, {})) waiting(nullptr);
    return;
  }
  if (code < kFirstRefusal) return;  // the connection broke: connected() sends it again

  const std::string why = config_.mqtt_version == MqttVersion::v5
                              ? mqtt::exception::reason_code_str(code)
                              : std::string("SUBACK 0x80");
  const Error error(ErrorKind::refused, "subscribe", filter, "the broker refused: " + why,
                    "check the policy of this client for the topic filter");
  const auto refused = subscriptions_.extract(found);
  if (refused.mapped().waiting.empty()) log_line(error.what());
  for (const auto& waiting : refused.mapped().waiting) waiting(&error);
}

void Session::unsubscribe(const std::string& filter, Ended ended) {
  if (!usable()) throw closed_error("unsubscribe");
  const auto found = subscriptions_.find(filter);
  if (found == subscriptions_.end() || !found->second.handler)
    throw Error(ErrorKind::usage, "unsubscribe", filter, "there is no such subscription");
  if (found->second.for_requests) {  // answers must go on coming
    found->second.handler.reset();
    return ended(nullptr);
  }
  const auto removed = subscriptions_.extract(found);
  const Error error(ErrorKind::closed, "subscribe", filter, "unsubscribe() was called");
  for (const auto& waiting : removed.mapped().waiting) waiting(&error);
  if (phase_ == Phase::connected)
    send_unsubscribe(filter, ended);
  else if (phase_ == Phase::idle)
    ended(nullptr);
  else
    unsubscribing_.emplace_back(filter, std::move(ended));
}

void Session::send_unsubscribe(const std::string& filter, const Ended& ended) {
  const auto again = [this, filter, ended] {
    if (usable())
      unsubscribing_.emplace_back(filter, ended);  // connected() sends it again
    else
      ended(nullptr);  // closing ends it, too
  };
  try {
    client_->unsubscribe(filter, nullptr, listen([again, ended, filter](const Outcome& outcome) {
                           if (outcome.ok) return ended(nullptr);
                           if (outcome.reason < kFirstRefusal) return again();
                           const Error error(ErrorKind::refused, "unsubscribe", filter,
                                             mqtt::exception::reason_code_str(outcome.reason));
                           ended(&error);
                         }));
  } catch (const mqtt::exception& exception) {
    if (exception.get_return_code() == MQTTASYNC_DISCONNECTED) return again();
    const Error error(ErrorKind::environment, "unsubscribe", filter, exception.what());
    ended(&error);
  }
}

// On Paho's thread.
void Session::taken(Message message) {
  if (backlog_->too_long()) {
    if (!pausing_.exchange(true)) control_.post([this] { pause(); });
    if (message.qos == Qos::at_most_once) {
      ++dropped_;
      return;
    }
  }
  auto ticket = backlog_->take(message.topic.size() + message.payload.size());
  control_.post([this, message = std::move(message), ticket = std::move(ticket)]() mutable {
    arrived(std::move(message), ticket);
  });
}

void Session::pause() {
  if (phase_ != Phase::connected) {
    pausing_ = false;
    return;
  }
  notify({State::interrupted, false,
          "the handlers are slower than the broker: it keeps its messages until they come after"});
  leave_client([this, latest = std::chrono::steady_clock::now() + kLongestPause] {
    resume_when_handled(latest);
  });
}

// Not for ever: a handler may wait for this very connection.
void Session::resume_when_handled(std::chrono::steady_clock::time_point latest) {
  if (phase_ != Phase::waiting) return;
  if (!backlog_->is_short() && std::chrono::steady_clock::now() < latest) {
    control_.post_after(kLookAtBacklog, [this, latest] { resume_when_handled(latest); });
    return;
  }
  if (const auto dropped = dropped_.exchange(0))
    log_line(std::to_string(dropped) + " messages of QoS 0 were dropped: the handlers are slow");
  pausing_ = false;
  start_attempt();
}

void Session::arrived(Message message, const std::shared_ptr<const Backlog::Ticket>& ticket) {
  bool wanted = false;
  const Arrival arrival(message);
  for (auto request = requests_.begin(); request != requests_.end();) {
    const cloud::Answer answer = request->second.correlation.judge(arrival);
    if (!answer.matches) {
      ++request;
      continue;
    }
    const auto answered = requests_.extract(request++);
    wanted = true;
    if (answer.refused.empty()) {
      answered.mapped().ended(&message, nullptr);
    } else {
      const Error error(ErrorKind::refused, "request", message.topic,
                        "the cloud refused: " + answer.refused, {}, answer.status,
                        answer.retry_after);
      answered.mapped().ended(nullptr, &error);
    }
  }

  const auto shared = std::make_shared<const Message>(std::move(message));
  for (const auto& [filter, subscription] : subscriptions_) {
    if (!topic_matches(filter, shared->topic)) continue;
    wanted = true;
    if (!subscription.handler) continue;
    handlers_.post("message handler",
                   [handler = subscription.handler, shared, ticket] { (*handler)(*shared); });
  }
  if (!wanted)
    log_line("a message on " + shared->topic +
             " was dropped: nothing is subscribed to it (subscribe before connect() to get what "
             "the broker kept)");
}

}  // namespace hwid::transport::mqtt_client
