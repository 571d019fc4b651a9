// Contenders measured in turn, round after round, by Google Benchmark.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace hwid::bench {

struct Options {
  int rounds = 11;
  double slice = 0.25;  // seconds that each contender runs in each round
  bool quick = false;   // only show that everything works
  std::string only;     // of the comparisons, those with this in their name
  std::string json;     // the file that the figures go to; empty: standard output
};

// Does the work once. Throws if it fails, which ends the program: no figure is of a failing
// operation.
using Operation = std::function<void()>;

// One way to do the work.
struct Contender {
  std::string name;
  // What thread number `thread` is to repeat. Called in that thread before the clock starts, once
  // a round; a number is never used by two threads at once.
  std::function<Operation(int thread)> worker;
  // Instead of `worker`: does the work once in one thread and says how many seconds it took.
  std::function<double()> timed;
  std::optional<double> calls;  // of the PKCS#11 module, for one operation
};

// Contenders that do the same work; the first is what the others are compared with.
struct Comparison {
  std::string suite;
  std::string name;
  int threads = 1;
  bool is_rate = true;  // operations a second; else seconds
  std::vector<Contender> contenders;
};

// Every contender runs once a round, for a slice of time, and the order moves on by one each
// round: whatever else the machine does meets all of them alike. Not thread-safe. Throws
// std::runtime_error.
class Rounds {
 public:
  explicit Rounds(Options options) : options_(std::move(options)) {}

  const Options& options() const noexcept { return options_; }
  void compare(const Comparison& comparison);
  // Figures that were taken in another way, in the form of figures().
  void add(nlohmann::json comparison) { figures_.push_back(std::move(comparison)); }
  // Seconds an operation, for each comparison, contender and round.
  const nlohmann::json& figures() const noexcept { return figures_; }

 private:
  Options options_;
  nlohmann::json figures_ = nlohmann::json::array();
};

// What a benchmark's main() does: reads the options, calls `measure`, writes the figures; 1 if
// anything failed, with the reason on standard error.
int run_program(int argc, char** argv, const std::function<void(Rounds&)>& measure);

}  // namespace hwid::bench
