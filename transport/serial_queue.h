#pragma once

#include <chrono>
#include <functional>
#include <memory>

namespace hwid::transport {

// Runs tasks one after the other, in order, without holding a lock: what only its tasks touch needs
// no lock. They run on threads that all queues of the process share (thread_pool.h), one at a time;
// a task that blocks stops no other queue. A task that throws is logged. Threads: any.
class SerialQueue {
 public:
  using Task = std::function<void()>;

  // Longer ones are cut down to it: a point of time has its limits, too.
  static constexpr std::chrono::milliseconds kLongestDelay = std::chrono::hours(24);

  // Throws std::system_error where there can be no thread.
  explicit SerialQueue(const char* name);
  SerialQueue(const SerialQueue&) = delete;
  SerialQueue& operator=(const SerialQueue&) = delete;
  ~SerialQueue() { stop(); }

  // False after stop(): the task was dropped.
  bool post(Task task);
  // Runs the task at once, on the calling thread, as one of the queue's; false, and nothing was
  // run, where a task runs or waits.
  bool run_now(const Task& task);
  bool post_after(std::chrono::milliseconds delay, Task task);

  // Waits for the running task, but for the one that it is called from; drops the others.
  void stop() noexcept;

  // Whether it is one of its tasks that asks.
  bool is_current_thread() const noexcept;

 private:
  class State;
  const std::shared_ptr<State> state_;
};

}  // namespace hwid::transport
