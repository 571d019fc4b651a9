#pragma once

#include <hwid/transport.h>

#include <chrono>
#include <functional>
#include <memory>

#include "transport/serial_queue.h"

namespace hwid::transport {

// The user's handlers of one transport. They run one at a time, in order, and none begins after
// close() has returned. Threads: any.
class UserHandlers {
 public:
  // Begins to close a session on its own thread; `closed` is called there when nothing is left.
  // False: too late, the thread has ended.
  using BeginClose =
      std::function<bool(std::chrono::milliseconds deadline, std::function<void()> closed)>;

  UserHandlers();
  UserHandlers(const UserHandlers&) = delete;
  UserHandlers& operator=(const UserHandlers&) = delete;
  ~UserHandlers() { stop(); }

  void set_state_handler(StateHandler handler);
  void notify(StateChange change);
  // Runs `body` after what was posted before; `where` says in the log whose exception it was.
  void post(const char* where, std::function<void()> body);

  // Transport::close(): waits for the session, then for the handlers that it still had to run, a
  // little longer than the deadline at most, and mutes the others.
  void close(std::chrono::milliseconds deadline, const BeginClose& begin);

  // Waits for the handler that runs, but for the one that it is called from; drops the others.
  void stop() noexcept { queue_.stop(); }

 private:
  class Gate;
  const std::shared_ptr<Gate> gate_;  // a handler may destroy its transport
  SerialQueue queue_{"handler"};
};

}  // namespace hwid::transport
