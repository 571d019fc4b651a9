// A connection that the client leaves by itself, with messages on their way.
#include <doctest/doctest.h>
#include <sys/syscall.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <mutex>

#include "client.h"
#include "fake_broker.h"
#include "watched_calls.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)

namespace {

using Connection = FakeBroker::Connection;

const std::string kServerKeepAlive("\x13\0\7", 3);

std::vector<State> kinds(const States& states) {
  std::vector<State> kinds;
  for (const auto& change : states.now()) kinds.push_back(change.state);
  return kinds;
}

// What came, by its last four characters. Threads: any.
class Arrivals {
 public:
  void add(const FakeBroker::Packet& got) {
    if (got.type() != 3 || got.body.size() < 4) return;
    const std::lock_guard lock(mutex_);
    ++times_[got.body.substr(got.body.size() - 4)];
  }
  int times(const std::string& end) const {
    const std::lock_guard lock(mutex_);
    const auto found = times_.find(end);
    return found == times_.end() ? 0 : found->second;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, int> times_;
};

std::vector<std::string> paho_threads() {
  std::vector<std::string> names;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    if (name.starts_with("MQTTAsync")) names.push_back(name);
  }
  return names;
}

int keep_alive_in(const FakeBroker::Packet& connect) {
  return static_cast<unsigned char>(connect.body.at(8)) << 8 |
         static_cast<unsigned char>(connect.body.at(9));
}

}  // namespace

TEST_CASE("leaving: the keep-alive of an MQTT 5 broker is taken over before anything is sent") {
  std::vector<int> keep_alives;
  Arrivals arrivals;
  const FakeBroker broker([&](Connection& connection, int number) {
    FakeBroker::Packet connect;
    if (!connection.read(connect)) return;
    keep_alives.push_back(keep_alive_in(connect));
    connection.write(connack(5, number > 1, kServerKeepAlive));
    connection.serve(5, [&](const FakeBroker::Packet& got) {
      arrivals.add(got);
      return false;
    });
  });
  States states;
  auto transport = open(config_of(broker, 5));
  transport->on_state(into(states));
  auto connected = transport->connect();
  std::map<std::string, std::future<Delivery>> deliveries;
  for (int qos = 0; qos < 3; ++qos)
    for (int i = 0; i < 5; ++i) {
      const auto name = "/" + std::to_string(qos) + "/" + std::to_string(i);
      deliveries[name] = transport->publish({"a", name, static_cast<Qos>(qos)});
    }
  get(std::move(connected));
  for (auto& item : deliveries) {
    const std::string& name = item.first;
    CAPTURE(name);
    CHECK_NOTHROW(get(std::move(item.second)));
    CHECK(eventually([&] { return arrivals.times(name) > 0; }));  // QoS 0 is written, no more
  }
  CHECK(reaches(states, State::connected));
  CHECK(kinds(states) == std::vector<State>{State::connecting, State::connected});
  CHECK_FALSE(states.now().back().session_present);
  transport.reset();
  for (const auto& delivery : deliveries) CHECK(arrivals.times(delivery.first) == 1);
  CHECK(keep_alives == std::vector<int>{30, 7});
}

TEST_CASE("leaving: a session found lost before the keep-alive was taken over stays lost") {
  std::atomic<int> releases{0};
  std::atomic<int> subscribes{0};
  const FakeBroker broker([&](Connection& connection, int number) {
    // The first connection ends between PUBREC and PUBCOMP, the second finds no session, the third
    // the one that the second has made.
    connection.accept(connack(5, number > 2, number > 1 ? kServerKeepAlive : std::string()));
    connection.serve(5, [&](const FakeBroker::Packet& got) {
      if (number == 1) return got.type() == 6;
      if (got.type() == 6) ++releases;
      if (got.type() == 8) ++subscribes;
      return false;
    });
  });
  States states;
  const auto transport = open(config_of(broker, 5));
  transport->on_state(into(states));
  get(transport->connect());
  get(transport->subscribe("a", Qos::at_least_once, [](const Message&) {}));
  auto delivery = transport->publish({"a", "x", Qos::exactly_once});
  REQUIRE(reaches(states, State::resumed));
  CHECK_NOTHROW(get(std::move(delivery)));  // the broker had acknowledged it
  CHECK_FALSE(states.now().back().session_present);
  get(transport->publish({"a", "x"}));  // after the SUBSCRIBE
  CHECK(subscribes == 1);
  CHECK(releases == 0);
  CHECK(broker.connections() == 3);
}

TEST_CASE("leaving: a broker that shortens the keep-alive each time is an error") {
  std::atomic<int> next{20};
  const FakeBroker broker([&](Connection& connection, int) {
    connection.accept(
        connack(5, false, std::string("\x13\0", 2) + static_cast<char>(next.fetch_sub(1))));
    connection.serve(5);
  });
  const auto error = connect_error(config_of(broker, 5));
  CHECK_MESSAGE(contains(error, "keep-alive each time"), error);
  CHECK(broker.connections() == 2);
}

TEST_CASE("leaving: what was written before a pause for slow handlers counts as written") {
  for (const int version : {4, 5}) {
    CAPTURE(version);
    Arrivals arrivals;
    std::promise<void> release;
    const auto released = release.get_future().share();
    const FakeBroker broker([&](Connection& connection, int number) {
      const auto note = [&](const FakeBroker::Packet& got) {
        arrivals.add(got);
        return number == 1 && got.type() == 8;
      };
      connection.accept(connack(version, number > 1));
      connection.serve(version, note);
      if (number > 1) return;
      constexpr int kTooMany = 10100;
      std::string flood;
      for (int i = 0; i < kTooMany; ++i) flood += publish(version, 0, 0, "a", "x");
      connection.write(flood);
      FakeBroker::Packet got;
      while (connection.read(got)) note(got);
      release.set_value();
    });
    States states;
    const auto transport = open(config_of(broker, version));
    transport->on_state(into(states));
    get(transport->connect());
    auto granted = transport->subscribe("a", Qos::at_most_once,
                                        [released](const Message&) { released.wait(); });
    std::map<std::string, std::future<Delivery>> deliveries;
    for (int i = 1000; released.wait_for(std::chrono::seconds(0)) != std::future_status::ready;
         ++i) {
      if (i >= 10000) break;
      deliveries[std::to_string(i)] =
          transport->publish({"a", std::to_string(i), Qos::at_most_once});
      if (i % 50 == 0) deliveries.rbegin()->second.wait();
    }
    CHECK(reaches(states, State::resumed));
    for (auto& item : deliveries) {
      const std::string& name = item.first;
      const auto error = error_text([&] { get(std::move(item.second)); });
      if (error == "no error" || arrivals.times(name) == 0) continue;
      CAPTURE(name);
      CHECK(error == "no error");
    }
  }
}

TEST_CASE("leaving: the last transport leaves no thread of Paho's behind") {
  const FakeBroker broker([](Connection& connection, int) {
    FakeBroker::Packet connect;
    if (!connection.read(connect)) return;
    connection.write(connack(5));
    connection.serve(5, [](const FakeBroker::Packet&) { return false; });
  });
  const auto slowly = [](const CallArguments&) {  // a thread ends
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    return 0;
  };
  std::vector<std::string> before;
  std::vector<std::string> after;
  const bool is_watched = with_watched_calls(SYS_exit, slowly, [&] {
    auto transport = open(config_of(broker, 5));
    transport->connect().get();
    before = paho_threads();
    transport.reset();
    after = paho_threads();
  });
  if (!is_watched) {
    MESSAGE("this kernel lets no thread watch another one's calls");
    return;
  }
  CHECK(before.size() == 2);
  CHECK(after.empty());
}
