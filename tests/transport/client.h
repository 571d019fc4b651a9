#pragma once

#include <hwid/transport.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "broker.h"

namespace hwid::test {

// What a client of the test's broker needs; change what the test is about.
transport::DeviceConfig client_config(const Broker& broker, const std::string& client_id);

// The value of a future that must be ready soon; throws what it holds.
template <typename T>
T get(std::future<T> future) {
  if (future.wait_for(kPatience) != std::future_status::ready)
    throw std::runtime_error("the future is not ready");
  return future.get();
}

// The Error of a future, or of an action; "no error" without one.
std::string error_text(const std::function<void()>& action);
std::string connect_error(const transport::DeviceConfig& config);

bool contains(const std::string& text, const std::string& part);

// What handlers saw, for a test that waits for it. Threads: any.
template <typename T>
class Log {
 public:
  void add(T item) {
    const std::lock_guard lock(mutex_);
    items_.push_back(std::move(item));
    changed_.notify_all();
  }
  // All items once `condition` holds for them, or after the test's patience.
  template <typename Condition>
  std::vector<T> wait(Condition condition) const {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kPatience, [&] { return condition(items_); });
    return items_;
  }
  std::vector<T> wait_for(std::size_t count) const {
    return wait([count](const auto& items) { return items.size() >= count; });
  }
  std::vector<T> now() const {
    const std::lock_guard lock(mutex_);
    return items_;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::vector<T> items_;
};

using Messages = Log<transport::Message>;
using States = Log<transport::StateChange>;

// Handlers that add what they get to these, which outlive them.
transport::MessageHandler into(Messages& messages);
transport::StateHandler into(States& states);

// True when `state` is reached for the `count`-th time.
bool reaches(const States& states, transport::State state, int count = 1);

}  // namespace hwid::test
