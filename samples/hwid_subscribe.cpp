// Prints what arrives on a topic, one line a message: "topic payload".
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <optional>

#include "command_line.h"

namespace {

namespace ht = hwid::transport;
namespace po = sample::po;

// Set by a signal, or when all messages are there.
volatile std::sig_atomic_t interrupted = 0;

void interrupt(int) { interrupted = 1; }

// Counts messages, and lets the main thread wait for them.
class Counter {
 public:
  explicit Counter(std::optional<unsigned> wanted) : wanted_(wanted) {}

  // False when there were enough already.
  bool add() {
    const std::lock_guard lock(mutex_);
    if (enough()) return false;
    ++seen_;
    changed_.notify_all();
    return true;
  }

  // Until all are there, the time is over, or a signal came. True: all are there.
  bool wait(std::optional<std::chrono::steady_clock::time_point> deadline) {
    constexpr std::chrono::milliseconds kSignalCheck{100};
    std::unique_lock lock(mutex_);
    while (!enough() && interrupted == 0) {
      if (deadline && std::chrono::steady_clock::now() >= *deadline) return false;
      changed_.wait_for(lock, kSignalCheck);
    }
    return enough();
  }

 private:
  bool enough() const { return wanted_ && seen_ >= *wanted_; }

  std::optional<unsigned> wanted_;
  unsigned seen_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
};

void show_state(const ht::StateChange& change) {
  if (change.state == ht::State::interrupted)
    std::cerr << "interrupted: " << change.reason << std::endl;
  if (change.state == ht::State::resumed)
    std::cerr << "resumed" << (change.session_present ? ", the session persisted" : "")
              << std::endl;
}

int subscribe(int argc, char** argv) {
  po::options_description options("Options");
  options.add_options()                                                                         //
      ("help,h", "show this text")                                                              //
      ("config,c", po::value<std::string>()->required(), "device.conf")                         //
      ("topic,t", po::value<std::string>(), "filter; default: topics.subscribe of the config")  //
      ("qos,q", po::value<int>(), "0, 1 or 2; default: qos of the config")                      //
      ("count,n", po::value<unsigned>(), "end after that many messages")                        //
      ("timeout", po::value<unsigned>(),
       "end after that many seconds; with --count and too few "
       "messages the exit code is 1");
  const auto values = sample::parse(
      argc, argv, options, "hwid-subscribe: print MQTT messages, with mutual TLS",
      "hwid-subscribe --config device.conf --topic mqtt-mtls-pkcs-test-topic/resp --count 1");

  const auto config = ht::DeviceConfig::read(values["config"].as<std::string>());
  const std::string topic =
      values.count("topic") != 0 ? values["topic"].as<std::string>() : config.topics_subscribe;
  if (topic.empty()) throw sample::UsageError("give --topic, or topics.subscribe in the config");
  const auto qos = values.count("qos") != 0 ? sample::qos_of(values["qos"].as<int>()) : config.qos;
  std::optional<unsigned> count;
  if (values.count("count") != 0) count = values["count"].as<unsigned>();
  std::optional<std::chrono::steady_clock::time_point> deadline;
  if (values.count("timeout") != 0)
    deadline =
        std::chrono::steady_clock::now() + std::chrono::seconds(values["timeout"].as<unsigned>());

  std::signal(SIGINT, interrupt);
  std::signal(SIGTERM, interrupt);
  Counter counter(count);
  const auto transport = ht::open(config);
  transport->on_state(show_state);
  // Before connect(), so that nothing is lost that the broker kept for a persistent session.
  auto granted = transport->subscribe(topic, qos, [&](const ht::Message& message) {
    if (counter.add()) std::cout << message.topic << " " << message.payload << std::endl;
  });
  transport->connect().get();
  granted.get();
  std::cerr << "subscribed to " << topic << std::endl;

  const bool complete = counter.wait(deadline);
  transport->close(std::chrono::seconds(5));
  return complete || !count || interrupted != 0 ? sample::kGood : sample::kAnswerIsNo;
}

}  // namespace

int main(int argc, char** argv) {
  return sample::run("hwid-subscribe", [&] { return subscribe(argc, argv); });
}
