#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>

namespace hwid::transport {

// Few threads that serve many queues: a gateway has hundreds of transports, most of them idle, and
// a thread each would cost more memory than their connections.
//
// A few threads at most, as long as work goes on. When all of them are blocked for some
// milliseconds (a handler may wait for what it wants, a name may resolve slowly) more are added, so
// that nobody stops others; idle ones end. Threads: any.
class ThreadPool {
 public:
  using Clock = std::chrono::steady_clock;

  // Who is served. At most one thread at a time is in run(): a client submits itself again only
  // from there, or after it.
  class Client {
   public:
    virtual ~Client() = default;
    virtual void run() noexcept = 0;    // some of its work
    virtual void alarm() noexcept = 0;  // a time of wake_at() has come; must not block
  };

  // The one of this process, as long as somebody holds it.
  static std::shared_ptr<ThreadPool> shared();

  // Throws std::system_error where there can be no thread.
  ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  // Waits for its threads, but for the one that it is called from.
  ~ThreadPool();

  void submit(std::shared_ptr<Client> client);
  void wake_at(Clock::time_point due, std::weak_ptr<Client> client);

  std::size_t threads() const;  // that work, or wait for work

 private:
  struct State;
  const std::shared_ptr<State> state_;  // its threads hold it, too
};

}  // namespace hwid::transport
