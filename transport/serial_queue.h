#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

namespace hwid::transport {

// One thread that runs tasks one after the other, without holding a lock: what only its tasks
// touch needs no lock. A task that throws is logged. Threads: any, but for stop() and the
// destructor, which must not be called from a task.
class SerialQueue {
 public:
  using Task = std::function<void()>;

  explicit SerialQueue(const char* name);
  SerialQueue(const SerialQueue&) = delete;
  SerialQueue& operator=(const SerialQueue&) = delete;
  ~SerialQueue() { stop(); }

  // False after stop(): the task was dropped.
  bool post(Task task) { return post_after(std::chrono::milliseconds(0), std::move(task)); }
  bool post_after(std::chrono::milliseconds delay, Task task);

  // Waits for the running task; drops the others.
  void stop() noexcept;

  bool is_current_thread() const noexcept { return std::this_thread::get_id() == thread_.get_id(); }

 private:
  void run();

  const char* name_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<std::chrono::steady_clock::time_point, Task> tasks_;  // equal times: in order
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace hwid::transport
