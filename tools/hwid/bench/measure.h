// How often threads get something done, and how long each time takes.
#pragma once

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace hwid::tool::bench {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

// The run of one thread, until a time is over: `while (run.next()) work();`.
class Run {
 public:
  Run(std::barrier<>& start, Seconds duration) : start_(start), duration_(duration) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  // The first call waits until all threads are there; later ones note what the work took.
  bool next();
  // For a thread that never got there: others must not wait for it.
  void give_up();

  const std::vector<float>& micros() const noexcept { return micros_; }
  Clock::time_point begin() const noexcept { return begin_; }
  Clock::time_point end() const noexcept { return last_; }

 private:
  std::barrier<>& start_;
  const Seconds duration_;
  bool is_running_ = false;
  Clock::time_point begin_, last_;
  std::vector<float> micros_;  // of each time
};

struct Series {
  unsigned threads = 1;
  std::uint64_t operations = 0;
  double per_second = 0;
  double median = 0, p90 = 0, p99 = 0, longest = 0;  // microseconds
};

// `work` is called once in each thread. What one throws is thrown once all have ended.
Series measure(unsigned threads, Seconds duration, const std::function<void(Run& run)>& work);

// Nearest rank (0 < share <= 1) of sorted values; 0 where there are none.
double percentile(const std::vector<float>& sorted, double share);

}  // namespace hwid::tool::bench
