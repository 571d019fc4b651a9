#include "transport/thread_pool.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <system_error>
#include <thread>
#include <utility>

#include "transport/log.h"

namespace hwid::transport {

namespace {

constexpr unsigned kUsualThreads = 4;
// No thread took anything for so long, and something waits: all are blocked. That many times as
// long where there are that many times the usual threads: on a busy machine none may have had its
// turn.
constexpr std::chrono::milliseconds kBlocked{10};
constexpr std::chrono::seconds kIdle{10};

}  // namespace

struct ThreadPool::State : std::enable_shared_from_this<State> {
  // All REQUIRE: the mutex is held.
  bool start_worker();
  void add_workers();
  std::chrono::milliseconds patience() const;

  void work();
  void watch();
  void end_thread(std::unique_lock<std::mutex>& lock);  // last of all

  const std::size_t usual = std::max(kUsualThreads, std::thread::hardware_concurrency());
  std::mutex mutex;
  std::condition_variable submitted;     // for workers
  std::condition_variable watched;       // for the watcher
  std::condition_variable thread_ended;  // for the end
  std::deque<std::shared_ptr<Client>> ready;
  std::multimap<Clock::time_point, std::weak_ptr<Client>> alarms;
  std::size_t workers = 0;
  std::size_t idle = 0;
  std::size_t living = 0;   // workers and the watcher
  std::uint64_t taken = 0;  // from `ready`, ever
  bool ending = false;
};

namespace {

// Which pool the thread belongs to.
thread_local const void* own_pool = nullptr;

}  // namespace

std::shared_ptr<ThreadPool> ThreadPool::shared() {
  struct Shared {
    std::mutex mutex;
    std::weak_ptr<ThreadPool> pool;
  };
  static auto* const instance = new Shared;  // never destroyed: a transport may outlive main()
  const std::lock_guard lock(instance->mutex);
  auto pool = instance->pool.lock();
  if (!pool) instance->pool = pool = std::make_shared<ThreadPool>();
  return pool;
}

ThreadPool::ThreadPool() : state_(std::make_shared<State>()) {
  std::thread([state = state_] { state->watch(); }).detach();
  const std::lock_guard lock(state_->mutex);
  ++state_->living;
}

ThreadPool::~ThreadPool() {
  std::unique_lock lock(state_->mutex);
  state_->ending = true;
  state_->submitted.notify_all();
  state_->watched.notify_all();
  const std::size_t left = own_pool == state_.get() ? 1 : 0;
  state_->thread_ended.wait(lock, [&] { return state_->living <= left; });
}

void ThreadPool::submit(std::shared_ptr<Client> client) {
  const auto state = state_;  // the client may end the pool
  std::unique_lock lock(state->mutex);
  state->ready.push_back(std::move(client));
  const bool for_idle = state->ready.size() <= state->idle;
  const bool started = !for_idle && state->workers < state->usual && state->start_worker();
  lock.unlock();  // who is woken wants it at once
  if (for_idle)
    state->submitted.notify_one();
  else if (!started)
    state->watched.notify_one();
}

void ThreadPool::wake_at(Clock::time_point due, std::weak_ptr<Client> client) {
  const std::lock_guard lock(state_->mutex);
  const auto added = state_->alarms.emplace(due, std::move(client));
  if (added == state_->alarms.begin()) state_->watched.notify_one();
}

std::size_t ThreadPool::threads() const {
  const std::lock_guard lock(state_->mutex);
  return state_->workers;
}

bool ThreadPool::State::start_worker() {
  try {
    std::thread([state = shared_from_this()] { state->work(); }).detach();
  } catch (const std::system_error&) {
    return false;  // the watcher tries again
  }
  ++workers;
  ++living;
  return true;
}

// Twice as many as there are, but no more than could have work.
void ThreadPool::State::add_workers() {
  for (auto wanted = std::min(ready.size(), std::max<std::size_t>(workers, 1)); wanted > 0;
       --wanted)
    if (!start_worker()) return;
}

std::chrono::milliseconds ThreadPool::State::patience() const {
  return kBlocked * std::max<std::size_t>(workers / usual, 1);
}

void ThreadPool::State::work() {
  own_pool = this;
  std::unique_lock lock(mutex);
  while (!ending) {
    if (ready.empty()) {
      ++idle;
      const bool submitted_in_time =
          submitted.wait_for(lock, kIdle, [this] { return ending || !ready.empty(); });
      --idle;
      if (!submitted_in_time) break;
      continue;
    }
    auto client = std::move(ready.front());
    ready.pop_front();
    ++taken;
    lock.unlock();
    client->run();
    client.reset();
    lock.lock();
  }
  --workers;
  end_thread(lock);
}

// What libcrypto has for the thread goes now: who waits for the end may end the process, and
// libcrypto's cleaning up after it does not expect a thread that cleans up as well.
void ThreadPool::State::end_thread(std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  OPENSSL_thread_stop();
  lock.lock();
  --living;
  thread_ended.notify_all();
}

void ThreadPool::State::watch() {
  own_pool = this;
  std::unique_lock lock(mutex);
  std::uint64_t taken_before = 0;
  auto progress = Clock::now();  // the last time when nobody waited, or somebody was taken
  while (!ending) {
    const auto now = Clock::now();
    if (!alarms.empty() && alarms.begin()->first <= now) {
      auto client = alarms.begin()->second.lock();
      alarms.erase(alarms.begin());
      lock.unlock();
      if (client) client->alarm();
      client.reset();
      lock.lock();
      continue;
    }
    if (ready.empty() || taken != taken_before) {
      progress = now;
    } else if (now - progress >= patience()) {
      add_workers();
      progress = now;
    }
    taken_before = taken;
    auto next = alarms.empty() ? Clock::time_point::max() : alarms.begin()->first;
    if (!ready.empty()) next = std::min(next, progress + patience());
    if (next == Clock::time_point::max())
      watched.wait(lock);
    else
      watched.wait_until(lock, next);
  }
  end_thread(lock);
}

}  // namespace hwid::transport
