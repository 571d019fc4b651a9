#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

namespace hwid::transport {

// One thread that runs tasks one after the other, without holding a lock: what only its tasks
// touch needs no lock. A task that throws is logged. Threads: any. From a task, stop() and the
// destructor do not wait for that task: it is the last one, and must touch nothing of its owner
// afterwards.
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

  // Waits for the running task, but not for itself; drops the others.
  void stop() noexcept;

  bool is_current_thread() const noexcept { return std::this_thread::get_id() == thread_.get_id(); }

 private:
  // Outlives the queue where a task ends it.
  struct State {
    const char* name;
    std::mutex mutex;
    std::condition_variable changed;
    std::multimap<std::chrono::steady_clock::time_point, Task> tasks;  // equal times: in order
    bool stopped = false;
  };
  static void run(State& state);

  std::shared_ptr<State> state_;
  std::thread thread_;
};

}  // namespace hwid::transport
