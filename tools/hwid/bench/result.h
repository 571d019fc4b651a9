// What `hwid bench` measured, in words, as JSON and as a picture.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tools/hwid/bench/measure.h"
#include "tools/hwid/output.h"

namespace hwid::tool::bench {

struct Row {
  Series hwid;
  std::optional<Series> raw;            // where the device signs without us
  std::map<std::string, double> calls;  // for one signature; empty: not counted
};

struct Result {
  std::string uri, name, type;
  std::string scheme;  // "ECDSA SHA2-256"
  std::string device;  // "token line (SoftHSM project SoftHSM v2)"
  bool is_tpm = false;
  double seconds = 0;  // that each series took
  std::vector<Row> rows;
};

double calls_in_all(const Row& row);

void print(Output& out, const Result& result);
Json to_json(const Result& result);
// A document of its own: signatures a second by threads, hwid beside the raw limit.
std::string plot(const Result& result);

}  // namespace hwid::tool::bench
