#include "transport/serial_queue.h"

#include "transport/log.h"

namespace hwid::transport {

SerialQueue::SerialQueue(const char* name) : state_(std::make_shared<State>()) {
  state_->name = name;
  thread_ = std::thread([state = state_] { run(*state); });
}

bool SerialQueue::post_after(std::chrono::milliseconds delay, Task task) {
  const std::lock_guard lock(state_->mutex);
  if (state_->stopped) return false;
  state_->tasks.emplace(std::chrono::steady_clock::now() + delay, std::move(task));
  state_->changed.notify_one();
  return true;
}

void SerialQueue::stop() noexcept {
  std::multimap<std::chrono::steady_clock::time_point, Task> dropped;
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopped = true;
    state_->changed.notify_one();
    dropped.swap(state_->tasks);
  }  // what they hold is released without the lock
  if (!thread_.joinable()) return;
  if (is_current_thread())
    thread_.detach();
  else
    thread_.join();
}

void SerialQueue::run(State& state) {
  std::unique_lock lock(state.mutex);
  while (!state.stopped) {
    if (state.tasks.empty()) {
      state.changed.wait(lock);
      continue;
    }
    const auto due = state.tasks.begin()->first;
    if (due > std::chrono::steady_clock::now()) {
      state.changed.wait_until(lock, due);
      continue;
    }
    {
      const Task task = std::move(state.tasks.begin()->second);
      state.tasks.erase(state.tasks.begin());
      lock.unlock();
      guarded(state.name, task);
    }  // what the task holds is released without the lock, too
    lock.lock();
  }
}

}  // namespace hwid::transport
