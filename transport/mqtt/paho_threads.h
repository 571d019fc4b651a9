#pragma once

#include <atomic>

namespace hwid::transport::mqtt_client {

// A session's part in Paho's threads, which the process has as long as it has a client. Paho tells
// their end just before it: libcrypto's cleaning up after such a thread could meet its cleaning up
// after the process, and both free the same. So who was the last waits until they are gone.
// Threads: any.
class PahoThreads {
 public:
  PahoThreads() noexcept { ++sessions_; }
  PahoThreads(const PahoThreads&) = delete;
  PahoThreads& operator=(const PahoThreads&) = delete;
  ~PahoThreads();  // REQUIRES: the session has no client any more

  static bool has_one_session() noexcept { return sessions_ == 1; }

 private:
  static inline std::atomic<int> sessions_{0};  // of this process
};

}  // namespace hwid::transport::mqtt_client
