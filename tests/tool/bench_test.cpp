// The parts of hwid bench that measure and draw.
#include <doctest/doctest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "tools/hwid/bench/device_counter.h"
#include "tools/hwid/bench/measure.h"
#include "tools/hwid/bench/result.h"

namespace {

using namespace hwid::tool::bench;

TEST_CASE("bench: percentiles are values that were measured") {
  const std::vector<float> ten = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  CHECK(percentile(ten, 0.5) == 5);
  CHECK(percentile(ten, 0.9) == 9);
  CHECK(percentile(ten, 0.99) == 10);
  CHECK(percentile(ten, 1) == 10);
  CHECK(percentile({7}, 0.5) == 7);
  CHECK(percentile({}, 0.5) == 0);
}

TEST_CASE("bench: each piece of work is counted once") {
  std::atomic<std::uint64_t> done{0};
  const Series series = measure(4, Seconds(0.05), [&](Run& run) {
    while (run.next()) ++done;
  });
  CHECK(series.threads == 4);
  CHECK(series.operations == done.load());
  CHECK(series.per_second > 0);
  CHECK(series.median <= series.longest);
}

TEST_CASE("bench: a thread that fails stops no other, and is told") {
  for (const bool is_early : {true, false}) {
    INFO(is_early);
    std::atomic<int> threads{0};
    const auto work = [&](Run& run) {
      const bool fails = threads++ == 0;
      if (fails && is_early) throw std::runtime_error("lost");
      while (run.next()) {
        if (fails) throw std::runtime_error("lost");
      }
    };
    CHECK_THROWS_WITH(measure(3, Seconds(0.02), work), "lost");
    CHECK(threads == 3);
  }
}

TEST_CASE("bench: what was asked meanwhile") {
  const std::map<std::string, std::uint64_t> before = {{"C_Sign", 3}, {"C_Login", 1}};
  const std::map<std::string, std::uint64_t> after = {{"C_Sign", 8}, {"C_Login", 1}, {"C_New", 2}};
  const std::map<std::string, std::uint64_t> more = difference(after, before);
  CHECK(more == std::map<std::string, std::uint64_t>{{"C_Sign", 5}, {"C_New", 2}});
}

TEST_CASE("bench: any rates can be drawn") {
  for (const double rate : {0.0, 0.4, 7.0, 99.5, 1234.0, 5e6}) {
    INFO(rate);
    Result result;
    result.name = "<k>\x1b";
    Row row;
    row.hwid.per_second = rate;
    row.raw = row.hwid;
    result.rows = {row, Row{}};
    const std::string svg = plot(result);
    CHECK(svg.find("&lt;k&gt;\\x1b") != std::string::npos);
    CHECK(svg.find("nan") == std::string::npos);
    CHECK(svg.find("inf") == std::string::npos);
    CHECK(svg.find("-1.") == std::string::npos);
    CHECK(svg.size() < 10000);
  }
}

}  // namespace
