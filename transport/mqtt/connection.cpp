// Session: connecting, staying connected.
#include <hwid/transport_error.h>

#include "transport/mqtt/connection_check.h"
#include "transport/mqtt/connection_options.h"
#include "transport/mqtt/create_options.h"
#include "transport/mqtt/message_conversion.h"
#include "transport/mqtt/publish_packet.h"
#include "transport/mqtt/session.h"

namespace hwid::transport::mqtt_client {

namespace {

constexpr std::chrono::milliseconds kFirstWait{500};
constexpr std::chrono::milliseconds kLongestWait{60000};
// A connection that held for so long was a good one: the next outage starts with short waits.
constexpr std::chrono::seconds kGoodConnection{30};
// A broker that ends the connection for a message does so when it reads it.
constexpr std::chrono::seconds kPrompt{10};
constexpr int kPahoQueue = 100000;  // our own queue is the bound
constexpr int kFirstRefusalV5 = 0x80;

// MQTT 3.1.1, table 3.1, and the reason codes of MQTT 5.
std::string connack_text(int code) {
  if (code >= kFirstRefusalV5) return mqtt::exception::reason_code_str(code);
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

// As HTTP says it, of a broker that has no room or time for anybody just now; 0: it means us.
int status_of(int connack) {
  constexpr int kUnavailableV3 = 3;  // MQTT 3.1.1, table 3.1
  constexpr int kUnavailable = 503;
  constexpr int kTooMany = 429;
  switch (connack) {
    case kUnavailableV3:
    case mqtt::SERVER_UNAVAILABLE:  // MQTT 5, 3.2.2.2
    case mqtt::SERVER_BUSY:
      return kUnavailable;
    case mqtt::QUOTA_EXCEEDED:
    case mqtt::CONNECTION_RATE_EXCEEDED:
      return kTooMany;
    default:
      return 0;
  }
}

// Whether a broker may end the connection so for the sake of a message. Reasons of its own: it is
// busy, shuts down or moves, saw nothing of us, or has another client of our name (MQTT
// 5, 3.14.2.1).
bool may_blame_a_message(mqtt::ReasonCode reason) {
  switch (reason) {
    case mqtt::SERVER_BUSY:
    case mqtt::SERVER_SHUTTING_DOWN:
    case mqtt::KEEP_ALIVE_TIMEOUT:
    case mqtt::SESSION_TAKEN_OVER:
    case mqtt::ADMINISTRATIVE_ACTION:
    case mqtt::USE_ANOTHER_SERVER:
    case mqtt::SERVER_MOVED:
      return false;
    default:
      return true;
  }
}

// Where the other side does not let us in. Azure's provisioning service knows a device by more than
// its certificate, and takes a wrong id-scope for a stranger's.
std::string advice_on_entry(const DeviceConfig& config) {
  if (config.profile != Profile::azure_dps)
    return "check that the broker lets client id " + config.client_id + " in with this certificate";
  return "check id-scope (" + config.id_scope + ") and registration-id (" + config.registration_id +
         "), and that an enrolment in DPS is for this certificate or the CA that signed it, and is "
         "enabled";
}

}  // namespace

Session::Session(const DeviceConfig& config)
    : config_(config),
      endpoint_(check_config(config)),
      backoff_(kFirstWait, kLongestWait),
      keep_alive_(config.keep_alive),
      outbox_(config),
      received_{{}, ReleasedPackets(receive_maximum_of(config))} {}

void Session::make_client() {
  if (store_) received_ = store_->detach();
  std::unique_ptr<PahoStore> store;
  if (!config_.clean_session)
    store = std::make_unique<PahoStore>(
        outbox_, config_.mqtt_version, std::move(received_),
        [this](Id id) { control_.post([this, id] { confirmed(id); }); },
        [this](const std::string& packet) {
          guarded("MQTT callback", [&] {
            if (auto message = message_in(packet)) taken(std::move(*message));
          });
        });
  // PahoStore has handed these over.
  const bool only_below_qos_2 = store && config_.mqtt_version == MqttVersion::v3_1_1;
  try {
    auto options = create_options_of(config_.mqtt_version);
    options.set_max_buffered_messages(kPahoQueue);
    auto client = std::make_unique<mqtt::async_client>(server_uri_of(endpoint_), config_.client_id,
                                                       options, store.get());
    if (store) store->restored();
    PahoStore* const kept = store.get();  // as long as this client
    client->set_message_callback(
        [this, only_below_qos_2, kept](const mqtt::const_message_ptr& message) {
          const bool is_qos_2 = message->get_qos() == 2;
          if (only_below_qos_2 && is_qos_2) return;
          guarded("MQTT callback", [&] {
            const bool again = kept != nullptr && is_qos_2 &&
                               kept->was_released(message->get_topic(), message->get_payload_str());
            if (!again) taken(from_paho(*message));
          });
        });
    const auto lost = [this, attempt = attempt_](const std::string& reason, bool by_a_message) {
      guarded("MQTT callback", [&] {
        control_.post([this, attempt, reason, by_a_message] {
          if (attempt == attempt_) connection_lost(reason, by_a_message);
        });
      });
    };
    client->set_connection_lost_handler([lost](const std::string& reason) { lost(reason, true); });
    if (config_.mqtt_version == MqttVersion::v5)
      client->set_disconnected_handler([lost](const mqtt::properties&, mqtt::ReasonCode reason) {
        lost("the broker disconnected us: " + mqtt::exception::reason_code_str(reason),
             may_blame_a_message(reason));
      });
    client_.swap(client);
  } catch (const mqtt::exception& error) {
    if (store) received_ = store->detach();
    throw Error(ErrorKind::environment, "connect", config_.endpoint, error.what());
  }  // only now the old one goes: Paho ends its threads with its last client, and waits for them
  store_ = std::move(store);
}

// What Paho says until its client's end is true, and is in the queue of tasks before `then`: what
// it has written counts as written, and what it has not it will not write behind our back.
void Session::leave_client(std::function<void()> then) {
  phase_ = Phase::waiting;
  // Never without a client: Paho ends its threads with its last one, and waits for them.
  client_ =
      std::make_unique<mqtt::async_client>(server_uri_of(endpoint_), config_.client_id, nullptr);
  if (store_) received_ = store_->detach();
  store_.reset();
  control_.post([this, then = std::move(then)] {
    listeners_.clear();                    // Paho does not call all of them
    if (phase_ != Phase::waiting) return;  // closed
    report(outbox_.connection_lost(config_.clean_session));
    then();
  });
}

Session::~Session() {
  control_.stop();
  client_.reset();  // Paho's last callbacks find a queue that takes no more
  handlers_.stop();
}

Listener& Session::listen(std::function<void(const Outcome&)> ended) {
  const Id id = ++last_id_;
  Listening& listening = listeners_[id];
  listening.ended = std::move(ended);
  listening.listener = std::make_shared<Listener>([this, id](Outcome&& outcome) {
    control_.post([this, id, outcome = std::move(outcome)] {
      if (const auto ended = listeners_.extract(id)) ended.mapped().ended(outcome);
    });
  });
  return *listening.listener;
}

void Session::connect(Ended ended) {
  if (!usable()) throw closed_error("connect");
  wanted_ = true;  // an attempt that failed meanwhile took it back
  if (phase_ == Phase::connected) return ended(nullptr);
  connecting_.push_back(std::move(ended));
  if (phase_ == Phase::idle) start_attempt();
}

void Session::start_attempt() {
  notify({State::connecting, false, {}});
  try_to_connect();
}

void Session::try_to_connect() {
  phase_ = Phase::connecting;
  ++attempt_;
  try {
    make_client();
    if (uses_tls(endpoint_)) {
      credentials_ = Credentials::load(config_);
      check_before_connect(config_, endpoint_, credentials_);
    }
    mqtt::ssl_options tls;
    auto options = connect_options_of(config_, endpoint_, credentials_, tls);
    options.set_keep_alive_interval(keep_alive_);
    client_->connect(options, nullptr, listen([this, attempt = attempt_](const Outcome& outcome) {
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
  if (!outcome.ok)
    attempt_failed(explain(outcome));
  else if (!follow_keep_alive(outcome))
    connected(outcome);
}

Error Session::explain(const Outcome& outcome) {
  const std::string what = "connect";
  // Paho has a reason code of MQTT 5 in either.
  const int connack = outcome.reason >= kFirstRefusalV5 ? outcome.reason : outcome.code;
  const int status = status_of(connack);
  const std::string advice = status != 0 ? "try again later" : advice_on_entry(config_);
  if (connack > 0)
    return {ErrorKind::refused,
            what,
            config_.endpoint,
            "the broker refused: " + connack_text(connack),
            advice,
            status};
  // Once an outage: each look costs a connection, and a signature.
  if (!std::exchange(explained_, true))
    return explain_failure(
        config_, endpoint_, credentials_, outcome.text,
        advice + (config_.profile == Profile::aws ? " (iot:Connect on client/ID)" : ""));
  return {ErrorKind::environment, what, config_.endpoint, outcome.text};
}

void Session::attempt_failed(const Error& error) {
  if (ever_connected_) {
    notify({State::interrupted, false, error.what()});
    return retry_later();
  }
  phase_ = Phase::idle;
  wanted_ = false;
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

// MQTT 5, 3.1.2.10: the client must use the server's value. Paho does not, and cannot be told to
// while it is connected: before anything else happens with this connection it is replaced by one
// with that value. The user sees one attempt.
bool Session::follow_keep_alive(const Outcome& outcome) {
  const auto ours = keep_alive_;
  keep_alive_ = outcome.limits.keep_alive.value_or(ours);
  const auto longest = std::chrono::seconds::max();  // without keep-alive
  const auto or_longest = [&](auto value) { return value.count() == 0 ? longest : value; };
  // Who pings more often than he must does no harm.
  if (or_longest(keep_alive_) >= or_longest(ours)) return false;
  const bool first = !std::exchange(keep_alive_followed_, true);
  leave_client([this, first, session_present = outcome.session_present] {
    if (!session_present) forget_session();
    if (first) return try_to_connect();
    attempt_failed(Error(ErrorKind::environment, "connect", config_.endpoint,
                         "the broker demands a shorter keep-alive each time"));
  });
  return true;
}

void Session::forget_session() {
  session_lost_ = true;
  for (auto& [filter, subscription] : subscriptions_) subscription.granted = false;
  report(outbox_.session_lost());
}

void Session::connected(const Outcome& outcome) {
  const bool session_present = !std::exchange(session_lost_, false) && outcome.session_present;
  keep_alive_followed_ = false;
  phase_ = Phase::connected;
  limits_ = outcome.limits;
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
  if (!outcome.session_present) report(outbox_.session_lost());
  pump();
}

void Session::connection_lost(const std::string& reason, bool by_a_message) {
  if (phase_ == Phase::closing) return finish_close();
  if (phase_ != Phase::connected) return;
  const std::string why = reason.empty() ? "the connection was lost" : reason;
  const auto now = std::chrono::steady_clock::now();
  // QoS 2 is sent again by Paho, when it has connected.
  if (by_a_message && now - std::max(sent_at_, connected_since_) < kPrompt)
    outbox_.connection_broke(why);
  notify({State::interrupted, false, why});
  if (now - connected_since_ > kGoodConnection) backoff_.reset();
  leave_client([this] { retry_later(); });
}

}  // namespace hwid::transport::mqtt_client
