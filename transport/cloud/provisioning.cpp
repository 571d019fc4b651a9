#include "transport/cloud/provisioning.h"

#include <algorithm>
#include <mutex>
#include <thread>

#include "transport/backoff.h"
#include "transport/credentials.h"
#include "transport/mqtt/connection_options.h"
#include "transport/tls_diagnosis.h"

namespace hwid::transport::cloud {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kFirstWait{500};
constexpr milliseconds kLongestWait{10000};
constexpr int kTooManyRequests = 429;
constexpr int kServerFault = 500;

// A connection that could not be made, and may be a little later.
class PassingFault : public Error {
 public:
  explicit PassingFault(const Error& error) : Error(error) {}
};

// Only what serves one exchange: the session of the device's own client id, what waits in it, and
// its last will stay as they are.
DeviceConfig for_questions(DeviceConfig config) {
  const DeviceConfig usual;
  config.clean_session = true;
  config.session_expiry.reset();
  config.will_topic.clear();
  config.will_message.clear();
  config.spool_dir.clear();
  config.spool_full.clear();
  config.spool_max_bytes.reset();
  config.spool_max_messages.reset();
  config.qos = usual.qos;
  return config;
}

bool is_passing(const DeviceConfig& config) {
  const Endpoint endpoint = mqtt_client::check_config(config);
  const Credentials credentials = Credentials::load(config);
  const Diagnosis diagnosis =
      diagnose(mqtt_client::paho_settings_of(config, endpoint, credentials));
  return diagnosis.good() || side_of(diagnosis.cause) == Side::network;
}

void connect(Transport& transport, const DeviceConfig& config) {
  try {
    transport.connect().get();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::environment && is_passing(config)) throw PassingFault(error);
    throw;
  }
}

}  // namespace

// What the transport's own thread saw.
struct Questions::Watch {
  std::mutex mutex;
  std::string lost;  // why
};

Questions::Questions(DeviceConfig config)
    : where_(config.endpoint), watch_(std::make_shared<Watch>()) {
  config = for_questions(std::move(config));
  transport_ = open(config);
  transport_->on_state([watch = watch_, transport = transport_.get()](const StateChange& change) {
    if (change.state != State::interrupted) return;
    {
      const std::lock_guard lock(watch->mutex);
      watch->lost = change.reason;
    }
    transport->close(milliseconds(0));  // whoever waits for an answer hears of it
  });
  connect(*transport_, config);
}

Questions::~Questions() { transport_->close(std::chrono::seconds(1)); }

Message Questions::ask(const Message& question, milliseconds timeout) {
  try {
    return transport_->request(question, timeout).get();
  } catch (const Error& error) {
    const std::lock_guard lock(watch_->mutex);
    if (error.kind() != ErrorKind::closed || watch_->lost.empty()) throw;
    throw Error(ErrorKind::closed, "request", where_ + ", topic " + question.topic,
                "the connection broke before the answer came (" + watch_->lost + ")");
  }
}

bool may_pass(const Error& error) {
  if (dynamic_cast<const PassingFault*>(&error) != nullptr) return true;
  if (error.kind() == ErrorKind::refused)
    return error.status() == kTooManyRequests || error.status() >= kServerFault;
  return error.kind() == ErrorKind::timeout || error.kind() == ErrorKind::closed;
}

void persist(const Patience& patience, const std::function<void()>& attempt,
             const std::function<bool(const Error&)>& passes) {
  const auto end = Clock::now() + patience.total;
  Backoff backoff(kFirstWait, kLongestWait);
  for (;;) {
    try {
      return attempt();
    } catch (const Error& error) {
      const auto asked = error.retry_after();
      const auto wait = asked + backoff.next();
      if (!passes(error) || Clock::now() + wait >= end) throw;
      patience.tell(std::string(error.what()) + "; it is tried again" +
                    (asked.count() > 0 ? ", after the " + std::to_string(asked.count()) +
                                             " s that the service asks for"
                                       : ""));
      std::this_thread::sleep_for(wait);
    }
  }
}

}  // namespace hwid::transport::cloud
