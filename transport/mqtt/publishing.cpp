// Session: messages out, and requests that wait for an answer.
#include "transport/cloud/rules.h"
#include "transport/mqtt/message_conversion.h"
#include "transport/mqtt/session.h"
#include "transport/topic.h"

namespace hwid::transport::mqtt_client {

namespace {

constexpr std::size_t kMaxWaiting = 10000;
constexpr int kFirstRefusalV5 = 0x80;
constexpr Qos kAnswerQos = Qos::at_least_once;

void check_message(const Message& message, const DeviceConfig& config) {
  check_topic_name(message.topic);
  if (config.mqtt_version == MqttVersion::v3_1_1 && !message.properties.empty())
    throw Error(ErrorKind::usage, "publish", message.topic, "MQTT 3.1.1 has no properties",
                "set mqtt-version = 5");
  cloud::check_publish(config, message);
}

}  // namespace

void Session::publish(Message message, std::function<void(const Delivery*, const Error*)> ended) {
  const bool posted =
      post([this, message = std::move(message), ended = std::move(ended)]() mutable {
        try {
          accept(std::move(message), ended);
        } catch (const Error& error) {
          ended(nullptr, &error);
        }
      });
  if (!posted) throw closed_error("publish");
}

void Session::accept(Message message, std::function<void(const Delivery*, const Error*)> ended) {
  if (!usable()) throw closed_error("publish");
  if (phase_ == Phase::idle)
    throw Error(ErrorKind::usage, "publish", message.topic, "there is no connection",
                "call connect() first");
  check_message(message, config_);
  if (phase_ != Phase::connected && waiting_.size() >= kMaxWaiting)
    throw Error(ErrorKind::environment, "publish", message.topic,
                "the connection is interrupted and " + std::to_string(kMaxWaiting) +
                    " messages wait for it",
                "publish less, or wait for State::resumed");
  Outgoing outgoing{std::move(message), std::move(ended)};
  if (phase_ == Phase::connected)
    send(std::move(outgoing));
  else
    waiting_.push_back(std::move(outgoing));
}

void Session::send(Outgoing outgoing) {
  const Id id = ++last_id_;
  const auto message = to_paho(outgoing.message);
  in_flight_.emplace(id, std::move(outgoing));
  try {
    client_->publish(message, nullptr,
                     listen([this, id](const Outcome& outcome) { delivered(id, outcome); }));
  } catch (const mqtt::exception& exception) {
    auto failed = in_flight_.extract(id);
    if (failed.empty()) return;
    if (exception.get_return_code() == MQTTASYNC_DISCONNECTED) {  // its callback is on the way
      waiting_.push_front(std::move(failed.mapped()));
      return;
    }
    const Error error(ErrorKind::environment, "publish", failed.mapped().message.topic,
                      exception.what());
    failed.mapped().ended(nullptr, &error);
  }
}

void Session::send_waiting() {
  auto waiting = std::exchange(waiting_, {});
  for (auto& outgoing : waiting) send(std::move(outgoing));
}

void Session::delivered(Id id, const Outcome& outcome) {
  auto ended = in_flight_.extract(id);
  if (ended.empty()) return;
  if (phase_ == Phase::closing && in_flight_.empty()) disconnect();
  Outgoing& outgoing = ended.mapped();
  if (outcome.ok) {
    const Delivery delivery{outcome.packet_id, outcome.reason};
    return outgoing.ended(&delivery, nullptr);
  }
  if (outcome.reason >= kFirstRefusalV5) {
    const Error error(ErrorKind::refused, "publish", outgoing.message.topic,
                      "the broker refused: " + mqtt::exception::reason_code_str(outcome.reason),
                      "check the policy of this client for the topic");
    return outgoing.ended(nullptr, &error);
  }
  // Paho gave up; a second copy is what at-least-once allows.
  if (outgoing.message.qos == Qos::at_least_once && usable() && phase_ != Phase::connected &&
      !config_.clean_session) {
    waiting_.push_back(std::move(outgoing));
    return;
  }
  const Error error(ErrorKind::closed, "publish", outgoing.message.topic,
                    "the connection broke before the message was confirmed (" + outcome.text + ")",
                    "publish again");
  outgoing.ended(nullptr, &error);
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
  send({message, [this, id](const Delivery*, const Error* error) {
          if (error != nullptr) request_failed(id, *error);
        }});
}

void Session::request_failed(Id id, const Error& error) {
  const auto failed = requests_.extract(id);
  if (!failed.empty()) failed.mapped().ended(nullptr, &error);
}

}  // namespace hwid::transport::mqtt_client
