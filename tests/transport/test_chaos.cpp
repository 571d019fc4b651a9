// Every message that publish() accepted arrives: QoS 2 once, QoS 1 at least once and first in the
// order of publish(), while the broker is restarted, the network is cut at any byte, and the device
// is killed. HWID_CHAOS_SECONDS and HWID_CHAOS_SEED choose another run.
#include <doctest/doctest.h>

#include <csignal>
#include <cstdlib>
#include <random>
#include <set>
#include <sstream>

#include "client.h"
#include "cutting_proxy.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)

namespace {

constexpr long kNumbersOfOneProcess = 1000000;
constexpr int kLastRound = 2000;
constexpr std::chrono::seconds kUntilAllArrived{120};

long from_environment(const char* name, long otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtol(text, nullptr, 10);
}

// Numbers by QoS.
struct Numbers {
  std::vector<long> qos[3];
};

// What the publishers said that they accepted; a line that a killed one did not finish is none.
Numbers accepted_in(const std::string& output) {
  Numbers accepted;
  std::istringstream lines(output);
  int qos = 0;
  long number = 0;
  while (lines >> qos >> number) accepted.qos[qos].push_back(number);
  return accepted;
}

// Of one QoS: in a session with both, mosquitto 2.0 sends a new message before those of QoS 1 that
// it has queued, once it has more in flight than the client's Receive Maximum and a PUBACK comes
// for one behind messages of QoS 2 (db__message_delete_outgoing dequeues by position, not by
// quota).
class Receiver {
 public:
  Receiver(const Broker& broker, Qos qos)
      : transport_(open(client_config(broker, "receiver-" + digit(qos)))) {
    auto subscribed = transport_->subscribe(
        "chaos/" + digit(qos), qos, [this](const Message& message) { messages_.add(message); });
    get(transport_->connect());
    get(std::move(subscribed));
  }
  std::vector<long> seen() const {
    std::vector<long> seen;
    for (const auto& message : messages_.now())
      seen.push_back(std::strtol(message.payload.c_str(), nullptr, 10));
    return seen;
  }

 private:
  static std::string digit(Qos qos) { return std::to_string(static_cast<int>(qos)); }

  Messages messages_;
  std::unique_ptr<Transport> transport_;
};

std::size_t missing(const Numbers& accepted, const Numbers& seen) {
  std::size_t count = 0;
  for (const int qos : {1, 2}) {
    const std::set<long> there(seen.qos[qos].begin(), seen.qos[qos].end());
    for (const long number : accepted.qos[qos]) count += there.count(number) == 0 ? 1 : 0;
  }
  return count;
}

void check_order_of_first_arrival(const std::vector<long>& seen) {
  std::set<long> before;
  long last = -1;
  for (const long number : seen) {
    if (!before.insert(number).second) continue;
    if (number < last) FAIL_CHECK("QoS 1: " << number << " first came after " << last);
    last = number;
  }
}

void check_once(const std::vector<long>& seen) {
  std::set<long> before;
  for (const long number : seen)
    if (!before.insert(number).second) FAIL_CHECK("QoS 2: " << number << " came twice");
}

// The receiver believes that mosquitto counts packet ids up once it has seen so many, and from then
// on knows what mosquitto forgets to have released (released_packets.h).
void accustom(const Broker& broker, const Receiver& receiver) {
  constexpr int kEnough = 100;
  const auto sender = open(client_config(broker, "sender"));
  get(sender->connect());
  for (int number = 0; number < kEnough; ++number)
    get(sender->publish({"chaos/2", std::to_string(number), Qos::exactly_once}));
  REQUIRE(eventually([&] { return receiver.seen().size() == kEnough; }));
}

class Chaos {
 public:
  Chaos(long seconds, long seed)
      : end_(std::chrono::steady_clock::now() + std::chrono::seconds(seconds)),
        random_(static_cast<std::mt19937::result_type>(seed)),
        proxy_(broker_.port(), [this] { return budget(); }),
        receiver_1_(broker_, Qos::at_least_once),
        receiver_2_(broker_, Qos::exactly_once) {
    accustom(broker_, receiver_2_);
    write_file(
        broker_.directory() / "device.conf",
        "endpoint = mqtts://localhost:" + std::to_string(proxy_.port()) +
            "\nclient-id = device\nca-file = " + broker_.file("ca.pem") +
            "\ncert = " + broker_.file("client.pem") + "\nkey = " + broker_.file("client.key") +
            "\nspool-dir = " + broker_.file("spool") +
            "\nspool-max-messages = 400\nmqtt-version = " + (seed % 2 == 0 ? "3.1.1" : "5") + "\n");
  }

  void run() {
    for (int round = 1; !is_over(); ++round) {
      start_publisher(round);
      bool killed = false;
      while (!killed && !is_over()) {
        wait_for_more(random_() % 400);
        const bool running = publisher_->running();
        REQUIRE_MESSAGE(
            running, "the publisher ended with " << publisher_->wait() << ": " << read_file(err_));
        if (random_() % 3 == 0) {
          broker_.stop(SIGTERM);
          if (random_() % 2 == 0) wait_for_more(random_() % 100);
          broker_.start();
          ++restarts_;
        } else {
          killed = random_() % 4 == 0;
        }
      }
      publisher_->end(SIGKILL);
      ++kills_;
    }
    drain();
  }

  void check() {
    const auto accepted = accepted_in(read_file(out_));
    const bool all = eventually([&] { return missing(accepted, seen()) == 0; }, kUntilAllArrived);
    const auto seen = this->seen();
    CHECK_MESSAGE(all, missing(accepted, seen) << " messages are missing");
    check_order_of_first_arrival(seen.qos[1]);
    check_once(seen.qos[2]);
    MESSAGE("accepted " << accepted.qos[1].size() << " QoS 1 and " << accepted.qos[2].size()
                        << " QoS 2; arrived " << seen.qos[1].size() << " and " << seen.qos[2].size()
                        << "; " << kills_ << " kills, " << restarts_ << " restarts of the broker, "
                        << proxy_.cuts() << " cuts");
    CHECK(enough_accepted());
    CHECK(proxy_.cuts() > 0);
  }

 private:
  Numbers seen() const { return {{{}, receiver_1_.seen(), receiver_2_.seen()}}; }

  // A busy machine makes few connections, and takes few messages, in a short time.
  bool is_over() const {
    constexpr std::chrono::seconds kPatience{30};
    const auto now = std::chrono::steady_clock::now();
    return now >= end_ + kPatience || (now >= end_ && proxy_.cuts() > 0 && enough_accepted());
  }

  bool enough_accepted() const {
    constexpr std::size_t kEnough = 100;
    return accepted_in(read_file(out_)).qos[1].size() > kEnough;
  }

  // On the proxy's thread. A TLS handshake takes about 4000 bytes.
  std::uint64_t budget() {
    constexpr std::uint64_t kForEver = UINT64_MAX;
    if (calm_) return kForEver;
    return cuts_random_() % 4 == 0 ? 1 + cuts_random_() % 6000 : 5000 + cuts_random_() % 60000;
  }

  void start_publisher(int round, bool drain = false) {
    std::vector<std::string> arguments = {HWID_TEST_SPOOL_PUBLISHER,
                                          (broker_.directory() / "device.conf").string(),
                                          std::to_string(round * kNumbersOfOneProcess)};
    if (drain) arguments.emplace_back("--drain");
    publisher_ = std::make_unique<Process>(arguments, out_, err_);
  }

  // Lines that it accepted, or as long as a full spool takes to be no news.
  void wait_for_more(std::size_t lines) {
    constexpr std::size_t kShortestLine = 10;
    constexpr std::chrono::milliseconds kLongest{500};
    std::error_code absent;
    const auto size = [&] { return std::filesystem::file_size(out_, absent); };
    const auto before = absent ? 0 : size();
    eventually([&] { return size() >= before + lines * kShortestLine; }, kLongest);
  }

  // A last process that is not disturbed.
  void drain() {
    calm_ = true;
    start_publisher(kLastRound, true);
    REQUIRE_MESSAGE(eventually([&] { return !publisher_->running(); }, kUntilAllArrived),
                    read_file(err_));
    CHECK_MESSAGE(publisher_->wait() == 0, read_file(err_));
  }

  const std::chrono::steady_clock::time_point end_;
  std::mt19937 random_;
  std::mt19937 cuts_random_{random_()};
  std::atomic<bool> calm_{false};
  Broker broker_;
  CuttingProxy proxy_;
  Receiver receiver_1_;
  Receiver receiver_2_;
  const std::filesystem::path out_ = broker_.directory() / "publisher.out";
  const std::filesystem::path err_ = broker_.directory() / "publisher.err";
  std::unique_ptr<Process> publisher_;
  int kills_ = 0;
  int restarts_ = 0;
};

}  // namespace

TEST_CASE("chaos: what was accepted arrives") {
  const long seconds = from_environment("HWID_CHAOS_SECONDS", 5);
  const long first_seed = from_environment("HWID_CHAOS_SEED", 1);
  for (const long seed : {first_seed, first_seed + 1}) {  // MQTT 5 and 3.1.1
    CAPTURE(seed);
    Chaos chaos(seconds, seed);
    chaos.run();
    chaos.check();
  }
}
