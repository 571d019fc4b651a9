#include "transport/user_handlers.h"

#include <algorithm>
#include <condition_variable>
#include <future>
#include <mutex>
#include <utility>

#include "transport/log.h"

namespace hwid::transport {

namespace {

constexpr std::chrono::milliseconds kCloseGrace{500};

}  // namespace

// Lets one handler at a time in, until it is shut.
class UserHandlers::Gate {
 public:
  template <typename Body>
  void pass(Body&& body) {
    {
      const std::lock_guard lock(mutex_);
      if (shut_) return;
      inside_ = true;
    }
    body();
    const std::lock_guard lock(mutex_);
    inside_ = false;
    left_.notify_all();
  }

  void shut() {
    const std::lock_guard lock(mutex_);
    shut_ = true;
  }

  void wait_until_empty(std::chrono::steady_clock::time_point latest) {
    std::unique_lock lock(mutex_);
    left_.wait_until(lock, latest, [this] { return !inside_; });
  }

  void set_state_handler(StateHandler handler) {
    const std::lock_guard lock(mutex_);
    state_handler_ = std::make_shared<const StateHandler>(std::move(handler));
  }

  std::shared_ptr<const StateHandler> state_handler() const {
    const std::lock_guard lock(mutex_);
    return state_handler_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable left_;
  bool inside_ = false;
  bool shut_ = false;
  std::shared_ptr<const StateHandler> state_handler_;
};

UserHandlers::UserHandlers() : gate_(std::make_shared<Gate>()) {}

void UserHandlers::set_state_handler(StateHandler handler) {
  gate_->set_state_handler(std::move(handler));
}

void UserHandlers::notify(StateChange change) {
  auto handler = gate_->state_handler();
  if (!handler || !*handler) return;
  post("state handler",
       [handler = std::move(handler), change = std::move(change)] { (*handler)(change); });
}

void UserHandlers::post(const char* where, std::function<void()> body) {
  queue_.post(
      [gate = gate_, where, body = std::move(body)] { gate->pass([&] { guarded(where, body); }); });
}

void UserHandlers::close(std::chrono::milliseconds deadline, const BeginClose& begin) {
  deadline = std::clamp(deadline, std::chrono::milliseconds(0), SerialQueue::kLongestDelay);
  const auto latest = std::chrono::steady_clock::now() + deadline + kCloseGrace;
  const auto closed = std::make_shared<std::promise<void>>();
  auto future = closed->get_future();
  if (!begin(deadline, [closed] { closed->set_value(); })) return;
  future.wait_until(latest);
  const bool in_handler = queue_.is_current_thread();
  if (!in_handler) {
    const auto drained = std::make_shared<std::promise<void>>();
    auto last = drained->get_future();
    if (queue_.post([drained] { drained->set_value(); })) last.wait_until(latest);
  }
  gate_->shut();
  if (!in_handler) gate_->wait_until_empty(latest);
}

}  // namespace hwid::transport
