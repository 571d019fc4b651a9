#include <doctest/doctest.h>
#include <hwid/transport_error.h>

#include <atomic>
#include <future>
#include <thread>

#include "broker.h"
#include "tests/fixture/ports.h"
#include "transport/mqtt/session.h"
#include "transport/user_handlers.h"

using namespace hwid::transport;  // NOLINT(google-build-using-namespace)
using hwid::test::kPatience;

namespace {

bool at_once(std::chrono::milliseconds, const std::function<void()>& closed) {
  closed();
  return true;
}

}  // namespace

TEST_CASE("user_handlers: none begins after close(), which waits for one that runs") {
  for (int round = 0; round < 300; ++round) {
    UserHandlers handlers;
    std::atomic<bool> over{false};
    std::atomic<int> wrong{0};
    std::atomic<bool> stop{false};
    std::thread poster([&] {
      for (int i = 0; i < 1000 && !stop; ++i)
        handlers.post("test", [&] {
          if (over) ++wrong;
          std::this_thread::yield();
          if (over) ++wrong;
        });
    });
    handlers.close(std::chrono::seconds(20), at_once);
    over = true;
    std::this_thread::yield();
    stop = true;
    poster.join();
    handlers.stop();
    REQUIRE(wrong.load() == 0);
  }
}

TEST_CASE("user_handlers: one that runs at the deadline is left alone, and those behind it") {
  std::promise<void> release;
  const auto released = release.get_future().share();
  std::promise<void> begun;
  std::atomic<int> ended{0};
  {
    UserHandlers handlers;
    handlers.post("test", [&] {
      begun.set_value();
      released.wait();
      ++ended;
    });
    handlers.post("test", [&] { ended += 10; });
    begun.get_future().wait();
    handlers.close(std::chrono::milliseconds(-5), at_once);
    CHECK(ended == 0);
    release.set_value();
  }
  CHECK(ended == 1);
}

TEST_CASE("user_handlers: the longest deadline is a long one") {
  UserHandlers handlers;
  std::chrono::milliseconds seen{0};
  std::atomic<int> ended{0};
  handlers.post("test", [&] { ++ended; });
  handlers.close(std::chrono::milliseconds::max(), [&](auto deadline, const auto& closed) {
    seen = deadline;
    closed();
    return true;
  });
  CHECK(ended == 1);
  CHECK(seen == SerialQueue::kLongestDelay);
  SerialQueue queue("test");
  std::promise<void> second;
  std::atomic<bool> early{false};
  queue.post_after(std::chrono::milliseconds::max(), [&] { early = true; });
  queue.post_after(std::chrono::milliseconds(20), [&] { second.set_value(); });
  CHECK(second.get_future().wait_for(kPatience) == std::future_status::ready);
  CHECK_FALSE(early);
}

TEST_CASE("session: a connect() that was called while another one failed lets publish() in") {
  DeviceConfig config;
  config.endpoint = "mqtt://127.0.0.1:" + std::to_string(hwid::test::free_port());
  config.allow_plaintext = true;
  config.client_id = "twice";
  mqtt_client::Session session(config);
  std::promise<void> failed;
  session.want_connection();
  session.post([&] {
    session.connect([&](const Error* error) {
      if (error != nullptr) failed.set_value();
    });
  });
  session.want_connection();  // the second caller is here when the first one's attempt fails
  REQUIRE(failed.get_future().wait_for(kPatience) == std::future_status::ready);
  std::promise<std::string> published;
  session.post([&] {
    session.connect([](const Error*) {});
    try {
      session.publish({"a", "x"}, [](const Delivery*, const Error*) {});
      published.set_value("accepted");
    } catch (const Error& error) {
      published.set_value(error.what());
    }
  });
  CHECK(published.get_future().get() == "accepted");
  session.close(std::chrono::milliseconds(100));
}
