#include "transport/serial_queue.h"

#include "transport/log.h"

namespace hwid::transport {

SerialQueue::SerialQueue(const char* name) : name_(name), thread_([this] { run(); }) {}

bool SerialQueue::post_after(std::chrono::milliseconds delay, Task task) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return false;
  tasks_.emplace(std::chrono::steady_clock::now() + delay, std::move(task));
  changed_.notify_one();
  return true;
}

void SerialQueue::stop() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void SerialQueue::run() {
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    if (tasks_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const auto due = tasks_.begin()->first;
    if (due > std::chrono::steady_clock::now()) {
      changed_.wait_until(lock, due);
      continue;
    }
    {
      const Task task = std::move(tasks_.begin()->second);
      tasks_.erase(tasks_.begin());
      lock.unlock();
      guarded(name_, task);
    }  // what the task holds is released without the lock, too
    lock.lock();
  }
}

}  // namespace hwid::transport
