#include "tools/hwid/bench/result.h"

#include <array>
#include <cstdio>

#include "tools/hwid/table.h"

namespace hwid::tool::bench {
namespace {

std::string fixed(double value, int digits) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

std::string rate(double per_second) { return fixed(per_second, per_second < 100 ? 1 : 0); }

// In the unit that fits.
std::string time_text(double micros) {
  if (micros < 1000) return fixed(micros, 0) + " us";
  return micros < 1e6 ? fixed(micros / 1e3, micros < 1e4 ? 2 : 1) + " ms"
                      : fixed(micros / 1e6, 2) + " s";
}

std::string share_of_raw(const Row& row) {
  if (!row.raw || row.raw->per_second <= 0) return "-";
  return fixed(row.hwid.per_second / row.raw->per_second, 2);
}

std::string calls_text(const Row& row) {
  if (row.calls.empty()) return "not counted";
  std::string text = fixed(calls_in_all(row), 2) + ":";
  for (const auto& [name, count] : row.calls) text += " " + name + " " + fixed(count, 2);
  return text;
}

Json to_json(const Series& series) {
  return {{"signatures", series.operations},
          {"per_second", series.per_second},
          {"median_us", series.median},
          {"p90_us", series.p90},
          {"p99_us", series.p99},
          {"longest_us", series.longest}};
}

}  // namespace

double calls_in_all(const Row& row) {
  double all = 0;
  for (const auto& [name, count] : row.calls) all += count;
  return all;
}

void print(Output& out, const Result& result) {
  out.heading("key " + result.name);
  out.field("uri", result.uri);
  out.field("type", result.type);
  out.field("kept in", result.device);
  out.field("signs", result.scheme + ", for " + fixed(result.seconds, 1) + " s in each row");
  out.line();
  std::vector<TableRow> rows = {
      {{"threads", "a second", "raw", "of raw", "median", "90 % below", "99 % below", "longest"}}};
  for (const Row& row : result.rows)
    rows.push_back(
        {{std::to_string(row.hwid.threads), rate(row.hwid.per_second),
          row.raw ? rate(row.raw->per_second) : "-", share_of_raw(row), time_text(row.hwid.median),
          time_text(row.hwid.p90), time_text(row.hwid.p99), time_text(row.hwid.longest)}});
  print_table(out, rows);
  out.line();
  for (const Row& row : result.rows)
    out.field(
        row.hwid.threads == 1 ? "1 thread" : std::to_string(row.hwid.threads) + " threads",
        std::string(result.is_tpm ? "commands" : "calls") + " for a signature: " + calls_text(row));
}

Json to_json(const Result& result) {
  Json json = {{"uri", result.uri},       {"label", result.name},    {"type", result.type},
               {"scheme", result.scheme}, {"device", result.device}, {"seconds", result.seconds}};
  json["rows"] = Json::array();
  for (const Row& row : result.rows) {
    Json one = {{"threads", row.hwid.threads}, {"hwid", to_json(row.hwid)}};
    one["raw"] = row.raw ? to_json(*row.raw) : Json(nullptr);
    one["calls"] = Json::object();
    for (const auto& [name, count] : row.calls) one["calls"][name] = count;
    one["calls_in_all"] = row.calls.empty() ? Json(nullptr) : Json(calls_in_all(row));
    json["rows"].push_back(std::move(one));
  }
  return json;
}

}  // namespace hwid::tool::bench
