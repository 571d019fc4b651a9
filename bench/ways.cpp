#include "bench/ways.h"

#include <chrono>
#include <cstdio>

namespace hwid::bench {
namespace {

nlohmann::json figures_of(const std::vector<Way>& ways, nlohmann::json Way::*of) {
  nlohmann::json contenders = nlohmann::json::array();
  for (const Way& way : ways) contenders.push_back({{"name", way.name}, {"seconds", way.*of}});
  return contenders;
}

void run_once(Way& way) {
  test::RunOptions options;
  options.environment = way.program.environment;
  options.timeout = std::chrono::seconds(300);
  const auto figures = nlohmann::json::parse(test::run_checked(way.program.argv, options));
  way.seconds.push_back(figures.at("seconds"));
  way.bytes.push_back(figures.at("bytes"));
}

}  // namespace

void run_in_turn(std::vector<Way>& ways, int count) {
  for (int round = 0; round < count; ++round)
    for (std::size_t i = 0; i < ways.size(); ++i)
      run_once(ways[(i + static_cast<std::size_t>(round)) % ways.size()]);
}

void add_figures(Rounds& rounds, const std::vector<Way>& ways, const std::string& suite,
                 const std::string& name, bool is_rate) {
  for (const Way& way : ways)
    std::fprintf(stderr, "%s, %s, %s: %s s, %s bytes\n", suite.c_str(), name.c_str(),
                 way.name.c_str(), way.seconds.dump().c_str(), way.bytes.dump().c_str());
  rounds.add({{"suite", suite},
              {"name", name},
              {"threads", 1},
              {"is_rate", is_rate},
              {"contenders", figures_of(ways, &Way::seconds)}});
  rounds.add({{"suite", suite + " memory"},
              {"name", name},
              {"threads", 1},
              {"is_rate", false},
              {"is_memory", true},
              {"contenders", figures_of(ways, &Way::bytes)}});
}

}  // namespace hwid::bench
