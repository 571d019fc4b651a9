#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <stdexcept>
#include <thread>
#include <vector>

#include "broker.h"
#include "transport/serial_queue.h"
#include "transport/thread_pool.h"

using namespace hwid::transport;  // NOLINT(google-build-using-namespace)
using hwid::test::kPatience;

namespace {

std::vector<std::unique_ptr<SerialQueue>> make_queues(int count) {
  std::vector<std::unique_ptr<SerialQueue>> queues;
  for (int i = 0; i < count; ++i) queues.push_back(std::make_unique<SerialQueue>("test"));
  return queues;
}

bool is_ready(const std::future<void>& future) {
  return future.wait_for(kPatience) == std::future_status::ready;
}

}  // namespace

TEST_CASE("thread_pool: a task that blocks stops no other queue") {
  constexpr int kBlocked = 40;
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future();
  std::atomic<int> waiting{0};
  const auto queues = make_queues(kBlocked + 1);
  for (int i = 0; i < kBlocked; ++i)
    queues[static_cast<std::size_t>(i)]->post([&] {
      ++waiting;
      released.wait();
    });
  const auto done = std::make_shared<std::promise<void>>();
  queues.back()->post([done] { done->set_value(); });
  CHECK(is_ready(done->get_future()));
  CHECK(hwid::test::eventually([&] { return waiting == kBlocked; }));
  release.set_value();
}

TEST_CASE("thread_pool: hundreds of queues share few threads") {
  constexpr int kQueues = 300;
  std::atomic<int> run{0};
  const auto queues = make_queues(kQueues);
  const auto pool = ThreadPool::shared();
  for (int times = 0; times < 10; ++times)
    for (const auto& queue : queues) queue->post([&] { ++run; });
  CHECK(hwid::test::eventually([&] { return run == 10 * kQueues; }));
  // A few more than usual, where the machine is so busy that the usual ones seem to be blocked.
  CHECK(pool->threads() < kQueues / 4);
}

TEST_CASE("thread_pool: a queue's tasks run one at a time, in each poster's order") {
  constexpr int kPosters = 4;
  constexpr int kTasks = 2000;
  SerialQueue queue("test");
  std::vector<int> last(kPosters, -1);  // the tasks' own, without a lock
  int disorder = 0;
  std::vector<std::thread> posters;
  for (int poster = 0; poster < kPosters; ++poster)
    posters.emplace_back([&, poster] {
      for (int i = 0; i < kTasks; ++i)
        queue.post([&, poster, i] {
          int& before = last[static_cast<std::size_t>(poster)];
          if (before != i - 1) ++disorder;
          before = i;
        });
    });
  for (auto& poster : posters) poster.join();
  std::promise<void> done;
  queue.post([&] { done.set_value(); });
  CHECK(is_ready(done.get_future()));
  queue.stop();
  CHECK(disorder == 0);
  CHECK(last == std::vector<int>(kPosters, kTasks - 1));
}

TEST_CASE("thread_pool: a queue may be destroyed by its own task") {
  auto queue = std::make_unique<SerialQueue>("test");
  std::promise<void> done;
  std::atomic<bool> dropped{true};
  queue->post([&] {
    CHECK(queue->is_current_thread());
    queue->post([&] { dropped = false; });
    queue.reset();
    done.set_value();
  });
  CHECK(is_ready(done.get_future()));
  CHECK(dropped);
}

TEST_CASE("thread_pool: what a dropped timer holds goes with its queue") {
  const auto held = std::make_shared<int>(1);
  {
    SerialQueue queue("test");
    queue.post_after(std::chrono::hours(1), [held] {});
    CHECK(held.use_count() == 2);
  }
  CHECK(held.use_count() == 1);
}

TEST_CASE("thread_pool: stop() waits for the running task") {
  SerialQueue queue("test");
  std::promise<void> began;
  std::promise<void> release;
  std::atomic<bool> ended{false};
  queue.post([&] {
    began.set_value();
    release.get_future().wait();
    ended = true;
  });
  CHECK(is_ready(began.get_future()));
  std::thread stopper([&] {
    queue.stop();
    CHECK(ended);
  });
  release.set_value();
  stopper.join();
}

TEST_CASE("thread_pool: a task that runs now is one of its queue's, or does not run") {
  SerialQueue queue("test");
  bool inside = false;
  CHECK(queue.run_now([&] {
    inside = queue.is_current_thread() && !queue.run_now([] {});
    throw std::runtime_error("logged");
  }));
  CHECK(inside);
  CHECK_FALSE(queue.is_current_thread());

  // Not while another one runs, or waits.
  std::promise<void> release;
  const auto begun = std::make_shared<std::promise<void>>();
  queue.post([&, begun] {
    begun->set_value();
    release.get_future().wait();
  });
  REQUIRE(is_ready(begun->get_future()));
  CHECK_FALSE(queue.run_now([] {}));
  release.set_value();

  queue.stop();
  CHECK_FALSE(queue.run_now([] {}));
}

TEST_CASE("thread_pool: tasks that run now and tasks that are posted are never two at a time") {
  constexpr int kThreads = 4;
  constexpr int kTasks = 2000;
  SerialQueue queue("test");
  int run = 0;  // the tasks' own, without a lock
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&] {
      for (int task = 0; task < kTasks; ++task)
        if (!queue.run_now([&] { ++run; })) queue.post([&] { ++run; });
    });
  for (auto& thread : threads) thread.join();
  std::promise<void> done;
  queue.post([&] { done.set_value(); });
  REQUIRE(is_ready(done.get_future()));
  CHECK(run == kThreads * kTasks);
}
