#include "transport/serial_queue.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include "transport/log.h"
#include "transport/thread_pool.h"

namespace hwid::transport {

namespace {

constexpr std::size_t kTurn = 1000;  // tasks of one queue, before others get their turn

}  // namespace

// It outlives the queue while a thread of the pool is in it.
class SerialQueue::State final : public ThreadPool::Client,
                                 public std::enable_shared_from_this<State> {
 public:
  explicit State(const char* name) : name_(name), pool_(ThreadPool::shared()) {}

  bool post(Task task) {
    std::unique_lock lock(mutex_);
    if (stopped_) return false;
    tasks_.push_back(std::move(task));
    if (std::exchange(scheduled_, true)) return true;
    auto self = shared_from_this();
    lock.unlock();  // who is woken wants it at once
    pool_->submit(std::move(self));
    return true;
  }

  bool run_now(const Task& task) {
    {
      const std::lock_guard lock(mutex_);
      if (stopped_ || std::exchange(scheduled_, true)) return false;
      running_ = true;
    }
    const State* const outer = std::exchange(current, this);
    guarded(name_, task);
    current = outer;
    std::unique_lock lock(mutex_);
    running_ = false;
    scheduled_ = !tasks_.empty();
    rested_.notify_all();
    if (!scheduled_) return true;
    auto self = shared_from_this();
    lock.unlock();
    pool_->submit(std::move(self));
    return true;
  }

  bool post_at(ThreadPool::Clock::time_point due, Task task) {
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return false;
      timers_.emplace(due, std::move(task));
    }
    pool_->wake_at(due, weak_from_this());
    return true;
  }

  void stop() {
    std::deque<Task> dropped_tasks;  // destroyed without the lock
    std::multimap<ThreadPool::Clock::time_point, Task> dropped_timers;
    std::unique_lock lock(mutex_);
    stopped_ = true;
    dropped_tasks.swap(tasks_);
    dropped_timers.swap(timers_);
    if (!is_current()) rested_.wait(lock, [this] { return !running_; });
  }

  bool is_current() const noexcept { return current == this; }

  void run() noexcept override {
    const State* const outer = std::exchange(current, this);
    std::deque<Task> batch;
    std::unique_lock lock(mutex_);
    running_ = true;
    // What is posted meanwhile belongs to the same turn: to submit itself would wake another
    // thread.
    for (std::size_t done = 0; !tasks_.empty() && done < kTurn;) {
      batch.swap(tasks_);
      lock.unlock();
      for (; !batch.empty() && !stopped_; batch.pop_front(), ++done)
        guarded(name_, batch.front());  // what the task holds is released without the lock, too
      batch.clear();
      lock.lock();
    }
    current = outer;
    running_ = scheduled_ = false;
    if (!tasks_.empty()) schedule();
    rested_.notify_all();
  }

  void alarm() noexcept override {
    const std::lock_guard lock(mutex_);
    const auto due = timers_.upper_bound(ThreadPool::Clock::now());
    for (auto timer = timers_.begin(); timer != due; ++timer)
      tasks_.push_back(std::move(timer->second));
    timers_.erase(timers_.begin(), due);
    if (!tasks_.empty()) schedule();
  }

 private:
  // REQUIRES: mutex_ is held.
  void schedule() {
    if (std::exchange(scheduled_, true)) return;
    pool_->submit(shared_from_this());
  }

  static thread_local const State* current;

  const char* const name_;
  const std::shared_ptr<ThreadPool> pool_;
  std::mutex mutex_;
  std::condition_variable rested_;
  std::deque<Task> tasks_;
  std::multimap<ThreadPool::Clock::time_point, Task> timers_;  // equal times: in order
  std::atomic<bool> stopped_{false};
  bool scheduled_ = false;  // the pool has it, or runs it
  bool running_ = false;
};

thread_local const SerialQueue::State* SerialQueue::State::current = nullptr;

SerialQueue::SerialQueue(const char* name) : state_(std::make_shared<State>(name)) {}

bool SerialQueue::post(Task task) { return state_->post(std::move(task)); }

bool SerialQueue::run_now(const Task& task) { return state_->run_now(task); }

bool SerialQueue::post_after(std::chrono::milliseconds delay, Task task) {
  if (delay.count() <= 0) return state_->post(std::move(task));
  return state_->post_at(ThreadPool::Clock::now() + std::min(delay, kLongestDelay),
                         std::move(task));
}

void SerialQueue::stop() noexcept { state_->stop(); }

bool SerialQueue::is_current_thread() const noexcept { return state_->is_current(); }

}  // namespace hwid::transport
