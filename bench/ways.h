// Ways to do the same work in processes of their own, which say what it took.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/processes.h"
#include "bench/rounds.h"

namespace hwid::bench {

// A program that prints {"seconds": N, "bytes": N}, and what it printed, round by round.
struct Way {
  std::string name;
  Program program;
  nlohmann::json seconds = nlohmann::json::array();
  nlohmann::json bytes = nlohmann::json::array();
};

// Runs each way `count` times, in turn. Throws std::runtime_error if one fails.
void run_in_turn(std::vector<Way>& ways, int count);

// Adds what the ways took as comparisons `suite` and "`suite` memory". `is_rate`: the time is shown
// as how often the work is done a second.
void add_figures(Rounds& rounds, const std::vector<Way>& ways, const std::string& suite,
                 const std::string& name, bool is_rate);

}  // namespace hwid::bench
