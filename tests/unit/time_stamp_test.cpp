#include "provider/core/time_stamp.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

using namespace hwid::core;

TEST_CASE("time stamp: RFC 3339 in UTC, microseconds") {
  using namespace std::chrono;
  const auto text = [](std::int64_t since) {
    return std::string(time_stamp(system_clock::time_point(microseconds(since))).data());
  };
  CHECK(text(0) == "1970-01-01T00:00:00.000000Z");
  CHECK(text(-1) == "1969-12-31T23:59:59.999999Z");
  CHECK(text(1709210096000007) == "2024-02-29T12:34:56.000007Z");
  CHECK(text(7258118399999999) == "2199-12-31T23:59:59.999999Z");
}
