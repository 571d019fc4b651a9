#include "tools/hwid/bench/measure.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

namespace hwid::tool::bench {

bool Run::next() {
  const Clock::time_point now = Clock::now();
  if (!is_running_) {
    is_running_ = true;
    start_.arrive_and_wait();
    begin_ = last_ = Clock::now();
    return true;
  }
  micros_.push_back(std::chrono::duration<float, std::micro>(now - last_).count());
  last_ = now;
  return now - begin_ < duration_;
}

void Run::give_up() {
  if (!is_running_) start_.arrive_and_drop();
}

double percentile(const std::vector<float>& sorted, double share) {
  if (sorted.empty()) return 0;
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1];
}

Series measure(unsigned threads, Seconds duration, const std::function<void(Run& run)>& work) {
  std::barrier start(static_cast<std::ptrdiff_t>(threads));
  std::deque<Run> runs;
  for (unsigned i = 0; i < threads; ++i) runs.emplace_back(start, duration);
  std::mutex mutex;
  std::exception_ptr failure;
  std::vector<std::thread> workers;
  workers.reserve(threads);
  for (Run& run : runs) {
    workers.emplace_back([&work, &run, &mutex, &failure] {
      try {
        work(run);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
      }
      run.give_up();
    });
  }
  for (std::thread& worker : workers) worker.join();
  if (failure) std::rethrow_exception(failure);

  Series series;
  series.threads = threads;
  std::vector<float> all;
  Clock::time_point begin = Clock::time_point::max();
  Clock::time_point end = Clock::time_point::min();
  for (const Run& run : runs) {
    if (run.micros().empty()) continue;
    all.insert(all.end(), run.micros().begin(), run.micros().end());
    begin = std::min(begin, run.begin());
    end = std::max(end, run.end());
  }
  if (all.empty()) return series;
  std::sort(all.begin(), all.end());
  series.operations = all.size();
  series.per_second = static_cast<double>(all.size()) / Seconds(end - begin).count();
  series.median = percentile(all, 0.5);
  series.p90 = percentile(all, 0.9);
  series.p99 = percentile(all, 0.99);
  series.longest = all.back();
  return series;
}

}  // namespace hwid::tool::bench
