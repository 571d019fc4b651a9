#include "bench/rounds.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iostream>
#include <memory>
#include <mutex>
#include <stdexcept>

namespace hwid::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Family = benchmark::internal::Benchmark;

// A new thread's first signatures seed its random generators and fill caches.
constexpr int kWarmUp = 3;

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

// Of all threads of this process.
double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// What one operation took.
struct Cost {
  double wall;
  double cpu;
};

// One run's clock: from when the last thread was ready until the last one was done. (Google
// Benchmark's own time is the threads' mean, which flatters who serves them one by one.)
class Watch {
 public:
  void ready() {
    const std::lock_guard lock(mutex_);
    begin_ = std::max(begin_, Clock::now());
    cpu_begin_ = cpu_seconds();
  }
  void done(std::int64_t operations) {
    const std::lock_guard lock(mutex_);
    end_ = std::max(end_, Clock::now());
    cpu_end_ = cpu_seconds();
    operations_ += operations;
  }
  void add(double seconds) { timed_ += seconds; }
  void fail(const std::string& what) {
    const std::lock_guard lock(mutex_);
    if (failure_.empty()) failure_ = what;
  }

  double elapsed() const { return timed_ > 0 ? timed_ : seconds(end_ - begin_); }
  Cost per_operation() const {
    const auto count = static_cast<double>(operations_);
    return {elapsed() / count, (cpu_end_ - cpu_begin_) / count};
  }
  const std::string& failure() const { return failure_; }

 private:
  std::mutex mutex_;
  Clock::time_point begin_{};
  Clock::time_point end_{};
  double cpu_begin_ = 0;
  double cpu_end_ = 0;
  double timed_ = 0;
  std::int64_t operations_ = 0;
  std::string failure_;
};

// Figures are taken from the Watch.
class Silent final : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>&) override {}
};

// A contender as a registered benchmark.
class Entry {
 public:
  Entry(const Contender& contender, const Comparison& comparison) : contender_(contender) {
    family_ = benchmark::RegisterBenchmark(contender.name.c_str(),
                                           [this](benchmark::State& state) { body(state); });
    family_->Threads(comparison.threads);
    if (contender.timed)
      family_->UseManualTime();
    else
      family_->UseRealTime();
  }

  // Finds how many operations a thread fill a slice, from ever longer runs.
  void calibrate(double slice) {
    double elapsed = 0;
    for (run(); (elapsed = watch_->elapsed()) < slice / 4; run()) {
      const double factor = std::min(slice / 3 / std::max(elapsed, 1e-9), 20.0);
      iterations_ = std::max(times(factor), iterations_ + 1);
    }
    iterations_ = std::max<std::int64_t>(times(slice / elapsed), 1);
  }

  Cost run() {
    Silent silent;
    watch_ = std::make_unique<Watch>();
    family_->Iterations(iterations_);
    if (benchmark::RunSpecifiedBenchmarks(&silent, nullptr, "^" + contender_.name + "/") != 1)
      throw std::runtime_error("no benchmark " + contender_.name);
    if (!watch_->failure().empty())
      throw std::runtime_error(contender_.name + ": " + watch_->failure());
    return watch_->per_operation();
  }

 private:
  void body(benchmark::State& state) {
    if (contender_.timed)
      repeat(state, [&] {
        const double taken = contender_.timed();
        watch_->add(taken);
        state.SetIterationTime(taken);
      });
    else
      repeat(state, prepare(state));
    watch_->done(state.iterations());
  }

  Operation prepare(benchmark::State& state) {
    Operation operation = [] {};
    attempt(state, [&] {
      operation = contender_.worker(state.thread_index());
      for (int i = 0; i < kWarmUp; ++i) operation();
    });
    return operation;
  }

  template <typename Work>
  void repeat(benchmark::State& state, const Work& work) {
    watch_->ready();
    for (auto _ : state) {
      if (!attempt(state, work)) break;
    }
  }

  template <typename Work>
  bool attempt(benchmark::State& state, const Work& work) {
    try {
      work();
      return true;
    } catch (const std::exception& error) {
      watch_->fail(error.what());
      state.SkipWithError(error.what());
      return false;
    }
  }

  std::int64_t times(double factor) const {
    return std::llround(static_cast<double>(iterations_) * factor);
  }

  const Contender& contender_;
  Family* family_;
  std::int64_t iterations_ = 1;
  std::unique_ptr<Watch> watch_;
};

using Figures = std::vector<std::vector<Cost>>;  // of each contender, in each round

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 != 0 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// What there is to see while it runs.
void show(const Comparison& comparison, const Figures& figures) {
  const auto median_ratio = [&](std::size_t contender, double Cost::*of) {
    std::vector<double> ratios;
    for (std::size_t round = 0; round < figures[contender].size(); ++round) {
      const double ratio = figures[contender][round].*of / figures[0][round].*of;
      ratios.push_back(comparison.is_rate ? 1 / ratio : ratio);
    }
    return median(std::move(ratios));
  };
  std::vector<double> reference;
  for (const Cost& cost : figures[0]) reference.push_back(cost.wall);
  std::fprintf(stderr, "%-10s %-24s %d  %s %.4g us", comparison.suite.c_str(),
               comparison.name.c_str(), comparison.threads, comparison.contenders[0].name.c_str(),
               median(reference) * 1e6);
  for (std::size_t i = 1; i < figures.size(); ++i) {
    std::fprintf(stderr, "  %s %.3f", comparison.contenders[i].name.c_str(),
                 median_ratio(i, &Cost::wall));
    if (!comparison.contenders[i].timed)
      std::fprintf(stderr, " (cpu %.3f)", median_ratio(i, &Cost::cpu));
  }
  std::fprintf(stderr, "\n");
}

nlohmann::json to_json(const Contender& contender, const std::vector<Cost>& costs) {
  nlohmann::json made = {{"name", contender.name}};
  for (const Cost& cost : costs) {
    made["seconds"].push_back(cost.wall);
    if (!contender.timed) made["cpu_seconds"].push_back(cost.cpu);
  }
  if (contender.calls) made["calls"] = *contender.calls;
  return made;
}

[[noreturn]] void usage(const std::string& wrong) {
  throw std::runtime_error(wrong +
                           "\nusage: [--rounds N] [--slice SECONDS] [--quick] [--json FILE]");
}

Options parse_options(const std::vector<std::string>& words) {
  Options options;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto value = [&]() -> const std::string& {
      if (i + 1 >= words.size()) usage(words[i] + " needs a value");
      return words[++i];
    };
    if (words[i] == "--rounds")
      options.rounds = std::stoi(value());
    else if (words[i] == "--slice")
      options.slice = std::stod(value());
    else if (words[i] == "--only")
      options.only = value();
    else if (words[i] == "--json")
      options.json = value();
    else if (words[i] == "--quick")
      options.quick = true;
    else
      usage("no option " + words[i]);
  }
  if (options.rounds < 1 || !(options.slice > 0)) usage("nothing to measure");
  return options;
}

}  // namespace

void Rounds::compare(const Comparison& comparison) {
  if (comparison.name.find(options_.only) == std::string::npos) return;
  std::vector<std::unique_ptr<Entry>> entries;
  Figures figures(comparison.contenders.size());
  const std::string title = comparison.suite + ", " + comparison.name;
  try {
    for (const Contender& contender : comparison.contenders) {
      entries.push_back(std::make_unique<Entry>(contender, comparison));
      entries.back()->calibrate(options_.slice);
    }
    for (int round = 0; round < options_.rounds; ++round) {
      for (std::size_t i = 0; i < entries.size(); ++i) {
        const std::size_t turn = (i + static_cast<std::size_t>(round)) % entries.size();
        figures[turn].push_back(entries[turn]->run());
      }
    }
  } catch (const std::exception& error) {
    throw std::runtime_error(title + ": " + error.what());
  }
  benchmark::ClearRegisteredBenchmarks();
  show(comparison, figures);

  nlohmann::json contenders = nlohmann::json::array();
  for (std::size_t i = 0; i < figures.size(); ++i)
    contenders.push_back(to_json(comparison.contenders[i], figures[i]));
  figures_.push_back({{"suite", comparison.suite},
                      {"name", comparison.name},
                      {"threads", comparison.threads},
                      {"is_rate", comparison.is_rate},
                      {"contenders", std::move(contenders)}});
}

int run_program(int argc, char** argv, const std::function<void(Rounds&)>& measure) {
  try {
    Rounds rounds(parse_options(std::vector<std::string>(argv + 1, argv + argc)));
    measure(rounds);
    const std::string& path = rounds.options().json;
    std::ofstream file;
    if (!path.empty()) file.open(path);
    std::ostream& out = path.empty() ? std::cout : file;
    out << rounds.figures().dump(1) << std::endl;
    if (!out) throw std::runtime_error("cannot write " + path);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}

}  // namespace hwid::bench
