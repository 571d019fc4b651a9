// Session: connecting, staying connected, closing.
#include <hwid/transport_error.h>

#include "transport/mqtt/connection_options.h"
#include "transport/mqtt/message_conversion.h"
#include "transport/mqtt/session.h"

namespace hwid::transport::mqtt_client {

namespace {

constexpr std::chrono::milliseconds kFirstWait{500};
constexpr std::chrono::milliseconds kLongestWait{60000};
// A connection that held for so long was a good one: the next outage starts with short waits.
constexpr std::chrono::seconds kGoodConnection{30};
constexpr std::chrono::seconds kProbeTimeout{5};
constexpr std::chrono::milliseconds kCloseGrace{500};
constexpr int kPahoQueue = 100000;  // our own queue is the bound
constexpr int kFirstRefusalV5 = 0x80;

// MQTT 3.1.1, table 3.1.
std::string connack_text(int code) {
  switch (code) {
    case 1:
      return "it does not speak this MQTT version";
    case 2:
      return "it does not accept this client id";
    case 3:
      return "its MQTT service is unavailable";
    case 4:
      return "bad user name or password";
    case 5:
      return "not authorized";
    default:
      return "CONNACK code " + std::to_string(code);
  }
}

int paho_version(MqttVersion version) {
  return version == MqttVersion::v5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
}

}  // namespace

Session::Session(const DeviceConfig& config)
    : config_(config), endpoint_(check_config(config)), backoff_(kFirstWait, kLongestWait) {
  try {
    mqtt::create_options options(paho_version(config_.mqtt_version));
    options.set_max_buffered_messages(kPahoQueue);
    client_ =
        std::make_unique<mqtt::async_client>(server_uri_of(endpoint_), config_.client_id, options);
    client_->set_message_callback([this](const mqtt::const_message_ptr& message) {
      guarded("MQTT callback", [&] {
        control_.post([this, copy = from_paho(*message)]() mutable { arrived(std::move(copy)); });
      });
    });
    const auto lost = [this](const std::string& reason) {
      guarded("MQTT callback", [&] { control_.post([this, reason] { connection_lost(reason); }); });
    };
    client_->set_connection_lost_handler(lost);
    if (config_.mqtt_version == MqttVersion::v5)
      client_->set_disconnected_handler([lost](const mqtt::properties&, mqtt::ReasonCode reason) {
        lost("the broker disconnected us: " + mqtt::exception::reason_code_str(reason));
      });
  } catch (const mqtt::exception& error) {
    throw Error(ErrorKind::environment, "open", config_.endpoint, error.what());
  }
}

Session::~Session() {
  control_.stop();
  client_.reset();  // Paho's last callbacks find a queue that takes no more
  handlers_.stop();
}

Listener& Session::listen(std::function<void(const Outcome&)> ended) {
  const Id id = ++last_id_;
  auto listener =
      std::make_shared<Listener>([this, id, ended = std::move(ended)](const Outcome& outcome) {
        control_.post([this, id, ended, outcome] {
          listeners_.erase(id);
          ended(outcome);
        });
      });
  return *(listeners_[id] = std::move(listener));
}

void Session::connect(Ended ended) {
  if (!usable()) throw closed_error("connect");
  if (phase_ == Phase::connected) return ended(nullptr);
  connecting_.push_back(std::move(ended));
  if (phase_ == Phase::idle) start_attempt();
}

void Session::start_attempt() {
  phase_ = Phase::connecting;
  ++attempt_;
  notify({State::connecting, false, {}});
  try {
    if (endpoint_.scheme == "mqtts") credentials_ = Credentials::load(config_);
    client_->connect(connect_options_of(config_, endpoint_, credentials_), nullptr,
                     listen([this, attempt = attempt_](const Outcome& outcome) {
                       if (attempt == attempt_) attempt_ended(outcome);
                     }));
  } catch (const Error& error) {
    attempt_failed(error);
  } catch (const mqtt::exception& error) {
    attempt_failed(Error(ErrorKind::environment, "connect", config_.endpoint, error.what()));
  }
}

void Session::attempt_ended(const Outcome& outcome) {
  if (phase_ == Phase::closed) {  // closed meanwhile; do not stay connected in secret
    if (outcome.ok) guarded("disconnect", [&] { client_->disconnect(); });
    return;
  }
  if (phase_ != Phase::connecting) return;
  if (outcome.ok)
    connected(outcome.session_present);
  else
    attempt_failed(explain(outcome));
}

Error Session::explain(const Outcome& outcome) {
  const std::string what = "connect";
  const std::string advice =
      "check that the broker lets client id " + config_.client_id + " in with this certificate";
  if (outcome.reason >= kFirstRefusalV5)
    return {ErrorKind::refused, what, config_.endpoint,
            "the broker refused: " + mqtt::exception::reason_code_str(outcome.reason), advice};
  if (outcome.code > 0)
    return {ErrorKind::refused, what, config_.endpoint,
            "the broker refused: " + connack_text(outcome.code), advice};
  // Once an outage: each look costs a connection, and a signature.
  if (!std::exchange(explained_, true)) {
    const TlsFinding finding =
        endpoint_.scheme == "mqtts"
            ? probe_tls(tls_settings_of(config_, endpoint_, credentials_), kProbeTimeout)
            : probe_tcp(endpoint_, kProbeTimeout);
    if (!finding.why.empty())
      return {ErrorKind::environment, what, config_.endpoint, finding.why, finding.next_step};
    return {ErrorKind::environment, what, config_.endpoint,
            "no answer from the broker (" + outcome.text + "); the connection below MQTT works",
            advice + (config_.profile == Profile::aws ? " (iot:Connect on client/ID)" : "")};
  }
  return {ErrorKind::environment, what, config_.endpoint, outcome.text};
}

void Session::attempt_failed(const Error& error) {
  if (ever_connected_) {
    notify({State::interrupted, false, error.what()});
    return retry_later();
  }
  phase_ = Phase::idle;
  explained_ = false;
  notify({State::closed, false, error.what()});
  fail_all(error);
}

void Session::retry_later() {
  phase_ = Phase::waiting;
  control_.post_after(backoff_.next(), [this, attempt = attempt_] {
    if (phase_ == Phase::waiting && attempt == attempt_) start_attempt();
  });
}

void Session::connected(bool session_present) {
  phase_ = Phase::connected;
  credentials_ = {};  // read; a gateway has more connections than descriptors to waste
  explained_ = false;
  connected_since_ = std::chrono::steady_clock::now();
  notify({std::exchange(ever_connected_, true) ? State::resumed : State::connected,
          session_present,
          {}});
  for (const auto& ended : std::exchange(connecting_, {})) ended(nullptr);

  for (auto& [filter, unused] : std::exchange(unsubscribing_, {})) send_unsubscribe(filter, unused);
  std::vector<std::string> missing;
  for (auto& [filter, subscription] : subscriptions_) {
    if (!session_present) subscription.granted = false;
    if (!subscription.granted) missing.push_back(filter);
  }
  for (const auto& filter : missing) send_subscribe(filter);
  send_waiting();
}

void Session::connection_lost(const std::string& reason) {
  if (phase_ == Phase::closing) return finish_close();
  if (phase_ != Phase::connected) return;
  const std::string why = reason.empty() ? "the connection was lost" : reason;
  notify({State::interrupted, false, why});
  if (config_.clean_session) {
    const Error lost(ErrorKind::closed, "publish", config_.endpoint,
                     "the connection broke before the broker confirmed the message (" + why + ")",
                     "publish again, or set clean-session = no");
    for (const auto& [id, outgoing] : std::exchange(in_flight_, {})) outgoing.ended(nullptr, &lost);
  }
  if (std::chrono::steady_clock::now() - connected_since_ > kGoodConnection) backoff_.reset();
  retry_later();
}

void Session::set_state_handler(StateHandler handler) {
  state_handler_ = std::make_shared<const StateHandler>(std::move(handler));
}

void Session::notify(StateChange change) {
  if (!state_handler_ || !*state_handler_) return;
  handlers_.post([this, handler = state_handler_, change = std::move(change)] {
    if (!muted_) guarded("state handler", [&] { (*handler)(change); });
  });
}

void Session::close(std::chrono::milliseconds deadline) {
  const auto until = std::chrono::steady_clock::now() + deadline + kCloseGrace;
  const auto closed = std::make_shared<std::promise<void>>();
  auto future = closed->get_future();
  if (!control_.post(
          [this, deadline, closed] { begin_close(deadline, [closed] { closed->set_value(); }); }))
    return;
  future.wait_until(until);
  if (!handlers_.is_current_thread()) {
    const auto drained = std::make_shared<std::promise<void>>();
    auto last = drained->get_future();
    if (handlers_.post([drained] { drained->set_value(); })) last.wait_until(until);
  }
  muted_ = true;
}

void Session::begin_close(std::chrono::milliseconds deadline, std::function<void()> closed) {
  if (phase_ == Phase::closed) return closed();
  closing_.push_back(std::move(closed));
  if (phase_ == Phase::closing) return;
  if (phase_ != Phase::connected) return finish_close();
  phase_ = Phase::closing;
  control_.post_after(deadline, [this] {
    if (phase_ != Phase::closing) return;
    disconnect();
    finish_close();
  });
  if (in_flight_.empty()) disconnect();  // else delivered() does it
}

// Without Paho's own waiting, which looks for the last confirmation every three seconds only.
void Session::disconnect() {
  try {
    client_->disconnect(0, nullptr, listen([this](const Outcome&) { finish_close(); }));
  } catch (const mqtt::exception&) {
    finish_close();  // the connection broke in this moment
  }
}

void Session::finish_close() {
  if (phase_ == Phase::closed) return;
  phase_ = Phase::closed;
  fail_all(closed_error("transport"));
  notify({State::closed, false, "close() was called"});
  for (const auto& closed : std::exchange(closing_, {})) closed();
}

void Session::fail_all(const Error& error) {
  for (const auto& ended : std::exchange(connecting_, {})) ended(&error);
  for (const auto& [id, request] : std::exchange(requests_, {})) request.ended(nullptr, &error);
  for (const auto& outgoing : std::exchange(waiting_, {})) outgoing.ended(nullptr, &error);
  for (const auto& [id, outgoing] : std::exchange(in_flight_, {})) outgoing.ended(nullptr, &error);
  for (const auto& [filter, ended] : std::exchange(unsubscribing_, {})) ended(&error);
  for (const auto& [filter, subscription] : std::exchange(subscriptions_, {}))
    for (const auto& ended : subscription.waiting) ended(&error);
}

Error Session::closed_error(const std::string& what) const {
  return {ErrorKind::closed, what, config_.endpoint, "the transport was closed", "open a new one"};
}

}  // namespace hwid::transport::mqtt_client
