// Publishes the state of the machine every few seconds, as a service of systemd or by hand.
#include <algorithm>
#include <atomic>
#include <deque>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "command_line.h"
#include "output.h"
#include "stop.h"
#include "systemd.h"

namespace {

namespace ht = hwid::transport;
namespace po = sample::po;
using Clock = sample::Stop::Clock;

// A broker that is connected and confirms nothing for so long: something hangs.
constexpr std::chrono::seconds kLongestSilence{60};
constexpr std::chrono::seconds kLongestEnd{5};

// What a device would read from its sensors.
std::string measure() {
  nlohmann::ordered_json values = {{"time", sample::now_text()}};
  double number = 0;
  if (std::ifstream("/proc/uptime") >> number) values["uptime"] = number;
  if (std::ifstream("/proc/loadavg") >> number) values["load"] = number;
  std::string name;
  long long kib = 0;
  std::ifstream memory("/proc/meminfo");
  for (std::string unit; memory >> name >> kib && std::getline(memory, unit);)
    if (name == "MemAvailable:") values["memoryAvailable"] = kib * 1024;
  if (std::ifstream("/sys/class/thermal/thermal_zone0/temp") >> number)
    values["temperature"] = number / 1000;
  return values.dump();
}

// What was published and is not confirmed yet, and whether that is a bad sign.
class Deliveries {
 public:
  void add(std::future<ht::Delivery> delivery) {
    if (under_way_.empty()) last_confirmation_ = Clock::now();
    under_way_.push_back(std::move(delivery));
  }

  // Takes what is known; a message that failed is a line on stderr, and the next goes on.
  void collect() {
    while (!under_way_.empty() &&
           under_way_.front().wait_for(std::chrono::seconds(0)) == std::future_status::ready) {
      auto oldest = std::move(under_way_.front());
      under_way_.pop_front();
      last_confirmation_ = Clock::now();
      try {
        oldest.get();
        ++confirmed_;
      } catch (const ht::Error& error) {
        if (error.kind() == ht::ErrorKind::usage) throw;  // the next would fail, too
        std::cerr << error.what() << std::endl;
      }
    }
  }

  bool hang() const {
    return !under_way_.empty() && Clock::now() - last_confirmation_ > kLongestSilence;
  }
  std::size_t waiting() const { return under_way_.size(); }
  unsigned confirmed() const { return confirmed_; }

 private:
  std::deque<std::future<ht::Delivery>> under_way_;
  Clock::time_point last_confirmation_;
  unsigned confirmed_ = 0;
};

// The loop, until a signal comes. The watchdog is fed as long as the broker confirms, or is known
// to be away: then the transport tries again by itself.
class Telemetry {
 public:
  Telemetry(const ht::DeviceConfig& config, std::string topic, ht::Qos qos,
            std::chrono::seconds interval)
      : topic_(std::move(topic)), qos_(qos), interval_(interval), transport_(ht::open(config)) {
    transport_->on_state([this](const ht::StateChange& change) { show_state(change); });
  }

  void run(const sample::Stop& stop) {
    const auto feed = sample::systemd::watchdog_period();
    sample::systemd::notify("STATUS=Connecting.");
    transport_->connect().get();
    sample::systemd::notify("READY=1\nSTATUS=Connected.");
    auto due = Clock::now();
    for (auto wake = due; !stop.wait_until(wake);) {
      deliveries_.collect();
      if (Clock::now() >= due) {
        publish();
        due = std::max(due + interval_, Clock::now());
      }
      report();
      wake = feed ? std::min(due, Clock::now() + *feed) : due;
    }
    sample::systemd::notify("STOPPING=1\nSTATUS=Waiting for confirmations.");
    transport_->close(kLongestEnd);
    deliveries_.collect();
  }

 private:
  void show_state(const ht::StateChange& change) {
    away_ = change.state != ht::State::connected && change.state != ht::State::resumed;
    if (change.state == ht::State::interrupted)
      std::cerr << "interrupted: " << change.reason << std::endl;
    if (change.state == ht::State::resumed) std::cerr << "resumed" << std::endl;
  }

  void publish() {
    deliveries_.add(transport_->publish({.topic = topic_, .payload = measure(), .qos = qos_}));
  }

  void report() {
    const std::string status = "STATUS=" + std::to_string(deliveries_.confirmed()) +
                               " messages confirmed, " + std::to_string(deliveries_.waiting()) +
                               " waiting" + (away_ ? " for the connection." : ".");
    const bool good = away_ || !deliveries_.hang();
    sample::systemd::notify(good ? status + "\nWATCHDOG=1" : status);
  }

  const std::string topic_;
  const ht::Qos qos_;
  const std::chrono::seconds interval_;
  std::atomic<bool> away_{false};  // the state handler runs on another thread
  Deliveries deliveries_;
  const std::unique_ptr<ht::Transport> transport_;  // the last: it ends before what it calls
};

int telemetry(int argc, char** argv) {
  po::options_description options("Options");
  options.add_options()                                                                      //
      ("help,h", "show this text")                                                           //
      ("config,c", po::value<std::string>()->required(), "device.conf")                      //
      ("topic,t", po::value<std::string>(), "default: topics.publish of the configuration")  //
      ("qos,q", po::value<int>(), "0, 1 or 2; default: qos of the configuration")            //
      ("interval,i", po::value<unsigned>()->default_value(30), "seconds between two messages");
  const auto values = sample::parse(
      argc, argv, options,
      "hwid-telemetry: publish the machine's load, memory and temperature over MQTT with mutual\n"
      "TLS, until SIGINT or SIGTERM. As a service it tells systemd how it is.",
      "  hwid-telemetry --config device.conf --topic devices/line-7/telemetry --interval 60\n"
      "  systemctl enable --now hwid-telemetry\n");

  const sample::Stop stop;
  const auto config = sample::config_of(values);
  const auto topic = sample::topic_of(values, config.topics_publish, "topics.publish");
  const auto interval = sample::seconds_of(values, "interval");
  if (interval.count() == 0) throw sample::UsageError("--interval is at least 1");

  Telemetry(config, topic, sample::qos_of(values, config), interval).run(stop);
  return sample::kGood;
}

}  // namespace

int main(int argc, char** argv) {
  return sample::run("hwid-telemetry", [&] { return telemetry(argc, argv); });
}
