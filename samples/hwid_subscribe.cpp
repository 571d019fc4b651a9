// Prints what arrives on a topic, one line a message: "topic payload", or JSON.
#include <atomic>
#include <exception>
#include <optional>

#include "command_line.h"
#include "output.h"
#include "stop.h"

namespace {

namespace ht = hwid::transport;
namespace po = sample::po;

// Prints messages until there are enough; then, or when they cannot be printed, asks the program to
// end. Its handler runs on one thread.
class Printer {
 public:
  Printer(const sample::Stop& stop, std::optional<unsigned> wanted, bool json)
      : stop_(stop), wanted_(wanted), json_(json) {}

  void operator()(const ht::Message& message) {
    if (complete() || failure_) return;
    try {
      sample::print_line(json_ ? sample::json_line(message)
                               : message.topic + " " + message.payload);
      ++seen_;
    } catch (...) {
      failure_ = std::current_exception();
    }
    if (complete() || failure_) stop_.request();
  }

  bool complete() const { return wanted_ && seen_ >= *wanted_; }
  // REQUIRES: the transport is closed. Throws what went wrong in the handler.
  void check() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  const sample::Stop& stop_;
  const std::optional<unsigned> wanted_;
  const bool json_;
  std::atomic<unsigned> seen_{0};
  std::exception_ptr failure_;
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
  options.add_options()                                                  //
      ("help,h", "show this text")                                       //
      ("config,c", po::value<std::string>()->required(), "device.conf")  //
      ("topic,t", po::value<std::string>(),
       "filter; default: topics.subscribe of the configuration")                      //
      ("qos,q", po::value<int>(), "0, 1 or 2; default: qos of the configuration")     //
      ("json,j", po::bool_switch(), "print JSON, with the time, QoS and properties")  //
      ("count,n", po::value<unsigned>(), "end after that many messages")              //
      ("timeout", po::value<unsigned>(),
       "end after that many seconds; with --count and too few messages the exit code is 1");
  const auto values = sample::parse(
      argc, argv, options, "hwid-subscribe: print MQTT messages, with mutual TLS",
      "  hwid-subscribe --config device.conf --topic mqtt-mtls-pkcs-test-topic/resp --count 1\n"
      "  hwid-subscribe --config device.conf --topic 'line/+/state' --json | jq -r .payload\n");

  const sample::Stop stop;
  const auto config = sample::config_of(values);
  const auto topic = sample::topic_of(values, config.topics_subscribe, "topics.subscribe");
  const auto qos = sample::qos_of(values, config);
  std::optional<unsigned> count;
  if (values.count("count") != 0) count = values["count"].as<unsigned>();
  std::optional<sample::Stop::Clock::time_point> deadline;
  if (values.count("timeout") != 0)
    deadline = sample::Stop::Clock::now() + sample::seconds_of(values, "timeout");

  Printer printer(stop, count, values["json"].as<bool>());
  const auto transport = ht::open(config);
  transport->on_state(show_state);
  // Before connect(), so that nothing is lost that the broker kept for a persistent session.
  auto granted = transport->subscribe(topic, qos, std::ref(printer));
  transport->connect().get();
  granted.get();
  std::cerr << "subscribed to " << topic << std::endl;

  const bool stopped = !printer.complete() && stop.wait_until(deadline);
  transport->close(std::chrono::seconds(5));
  printer.check();
  return printer.complete() || stopped || !count ? sample::kGood : sample::kAnswerIsNo;
}

}  // namespace

int main(int argc, char** argv) {
  return sample::run("hwid-subscribe", [&] { return subscribe(argc, argv); });
}
