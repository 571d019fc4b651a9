#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <thread>

namespace hwid::test {

// A TCP proxy on a free port of 127.0.0.1 that cuts each connection after so many bytes, of both
// directions together, as `budget` says when it is accepted: the byte before was still delivered.
// Some are reset, some closed.
class CuttingProxy {
 public:
  using Budget = std::function<std::uint64_t()>;

  CuttingProxy(int target_port, Budget budget);
  CuttingProxy(const CuttingProxy&) = delete;
  CuttingProxy& operator=(const CuttingProxy&) = delete;
  ~CuttingProxy();

  int port() const noexcept { return port_; }
  int cuts() const noexcept { return cuts_; }

 private:
  struct Pair {
    int client = -1;
    int server = -1;
    std::uint64_t left = 0;
  };
  void run();
  void accept_one();
  bool forward(Pair& pair, int from, int to);
  static void close_pair(const Pair& pair, bool reset);

  const int target_port_;
  const Budget budget_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<int> cuts_{0};
  std::atomic<bool> stopped_{false};
  std::list<Pair> pairs_;
  std::thread thread_;
};

}  // namespace hwid::test
