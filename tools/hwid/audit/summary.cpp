#include "tools/hwid/audit/summary.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "provider/core/time_stamp.h"
#include "tools/hwid/table.h"

namespace hwid::tool::audit {
namespace {

constexpr std::size_t kSlowest = 10;
constexpr std::size_t kMostRows = 20;  // of a table for people
constexpr char kOthers[] = "(others)";

void count(Count& total, const Record& record) {
  ++total.all;
  if (!record.is_ok()) ++total.failed;
}

std::string stamp(Time time) { return core::time_stamp(time).data(); }

// "1.234 ms", "12.345 s"
std::string milliseconds(std::uint64_t micros) {
  std::array<char, 48> text{};
  const bool long_ones = micros >= 10'000'000;
  const std::uint64_t unit = long_ones ? 1'000'000 : 1'000;
  std::snprintf(
      text.data(), text.size(), "%llu.%03llu %s", static_cast<unsigned long long>(micros / unit),
      static_cast<unsigned long long>(micros % unit / (unit / 1000)), long_ones ? "s" : "ms");
  return text.data();
}

std::string key_text(const std::string& token, const std::string& object) {
  if (object.empty()) return token.empty() ? "-" : token;
  return token + "/" + object;
}

std::string program_text(const Program& program) {
  return (program.exe.empty() ? "?" : program.exe) + " (uid " + std::to_string(program.uid) + ")";
}

std::string operations_text(const Use& use) {
  std::string text;
  const auto add = [&text](const std::string& name, const Count& counted) {
    text += (text.empty() ? "" : ", ") + name + " " + std::to_string(counted.all);
  };
  for (const auto& [name, counted] : use.operations.known()) add(name, counted);
  if (use.operations.has_others()) add(kOthers, use.operations.others());
  return text;
}

// The entries of a map, the biggest first, as pointers.
template <typename Map, typename Size>
auto biggest_first(const Map& map, Size size) {
  std::vector<const typename Map::value_type*> all;
  all.reserve(map.size());
  for (const auto& each : map) all.push_back(&each);
  std::ranges::stable_sort(
      all, [&](const auto* a, const auto* b) { return size(a->second) > size(b->second); });
  return all;
}

// A table with a heading; at most kMostRows of its rows.
void print_rows(Output& out, const std::string& heading, std::vector<TableRow> rows) {
  if (rows.size() < 2) return;
  const std::size_t left = rows.size() - 1 > kMostRows ? rows.size() - 1 - kMostRows : 0;
  rows.resize(rows.size() - left);
  out.line();
  out.heading(heading);
  print_table(out, rows);
  if (left != 0) out.line("  and " + std::to_string(left) + " more: --json has them");
}

Json to_json(const Program& program) { return {{"exe", program.exe}, {"uid", program.uid}}; }

Json to_json(const Record& record) {
  return {{"time", stamp(record.time)}, {"duration_us", record.duration_us},
          {"op", record.operation},     {"token", record.token},
          {"object", record.object},    {"mechanism", record.mechanism},
          {"result", record.result},    {"exe", record.exe},
          {"uid", record.uid},          {"pid", record.pid}};
}

void add_counts(Json& json, const Count& counted) {
  json["count"] = counted.all;
  json["failed"] = counted.failed;
}

Json to_json(const User* user, const Use& use) {
  Json json = user != nullptr ? to_json(user->program) : Json{{"others", true}};
  if (user != nullptr) {
    json["token"] = user->token;
    json["object"] = user->object;
  }
  add_counts(json, use);
  json["last"] = stamp(use.last);
  json["operations"] = Json::object();
  for (const auto& [name, counted] : use.operations.known())
    add_counts(json["operations"][name], counted);
  if (use.operations.has_others()) add_counts(json["operations"][kOthers], use.operations.others());
  return json;
}

Json to_json(const User* user, const Logins& logins) {
  Json json = user != nullptr ? to_json(user->program) : Json{{"others", true}};
  if (user != nullptr) json["token"] = user->token;
  add_counts(json, logins);
  json["last_failed"] = stamp(logins.last_failed);
  json["last_result"] = logins.last_result;
  return json;
}

Json to_json(const std::string& name, const Operation& operation) {
  Json json = {{"op", name}};
  add_counts(json, operation);
  json["p50_us"] = operation.durations.percentile(50);
  json["p99_us"] = operation.durations.percentile(99);
  json["longest_us"] = operation.durations.largest();
  return json;
}

std::vector<TableRow> use_rows(const Capped<User, Use, 1000>& uses) {
  std::vector<TableRow> rows = {{{"COUNT", "FAILED", "OPERATIONS", "KEY", "PROGRAM"}}};
  const auto add = [&rows](const Use& use, const std::string& key, const std::string& program) {
    rows.push_back({{std::to_string(use.all), std::to_string(use.failed), operations_text(use), key,
                     program}});
  };
  for (const auto* use : biggest_first(uses.known(), [](const Use& each) { return each.all; }))
    add(use->second, key_text(use->first.token, use->first.object),
        program_text(use->first.program));
  if (uses.has_others()) add(uses.others(), kOthers, kOthers);
  return rows;
}

std::vector<TableRow> login_rows(const Capped<User, Logins, 1000>& logins) {
  std::vector<TableRow> rows = {{{"FAILED", "LAST", "RESULT", "TOKEN", "PROGRAM"}}};
  const auto add = [&rows](const Logins& each, const std::string& token,
                           const std::string& program) {
    if (each.failed != 0)
      rows.push_back({{std::to_string(each.failed), stamp(each.last_failed), each.last_result,
                       token, program}});
  };
  for (const auto* each :
       biggest_first(logins.known(), [](const Logins& one) { return one.failed; }))
    add(each->second, each->first.token, program_text(each->first.program));
  if (logins.has_others()) add(logins.others(), kOthers, kOthers);
  return rows;
}

}  // namespace

void Summary::add(const Record& record) {
  count(count_, record);
  if (!first_ || record.time < *first_) first_ = record.time;
  if (!last_ || record.time > *last_) last_ = record.time;
  const Program program{record.exe, record.uid};
  if (record.operation == core::audit_field::kLogin) {
    Logins& logins = logins_[{program, record.token, ""}];
    count(logins, record);
    if (!record.is_ok() && record.time >= logins.last_failed) {
      logins.last_failed = record.time;
      logins.last_result = record.result;
    }
  } else {
    Use& use = uses_[{program, record.token, record.object}];
    count(use, record);
    count(use.operations[record.operation], record);
    use.last = std::max(use.last, record.time);
  }
  if (!record.is_ok()) ++failures_[{record.operation, record.result}];
  Operation& operation = operations_[record.operation];
  count(operation, record);
  operation.durations.add(record.duration_us);
  const auto at = std::ranges::upper_bound(slowest_, record.duration_us, std::greater<>(),
                                           &Record::duration_us);
  if (at != slowest_.end() || slowest_.size() < kSlowest) slowest_.insert(at, record);
  if (slowest_.size() > kSlowest) slowest_.pop_back();
}

void Summary::print(Output& out) const {
  out.heading("audit trail");
  out.field("events",
            std::to_string(count_.all) + ", of which " + std::to_string(count_.failed) + " failed");
  out.field("first", stamp(*first_));
  out.field("last", stamp(*last_));
  print_rows(out, "who used which key", use_rows(uses_));
  print_rows(out, "failed logins", login_rows(logins_));

  std::vector<TableRow> failures = {{{"COUNT", "OPERATION", "RESULT"}}};
  for (const auto* each : biggest_first(failures_.known(), [](std::uint64_t one) { return one; }))
    failures.push_back({{std::to_string(each->second), each->first.operation, each->first.result}});
  if (failures_.has_others())
    failures.push_back({{std::to_string(failures_.others()), kOthers, kOthers}});
  print_rows(out, "failures", std::move(failures));

  std::vector<TableRow> durations = {{{"OPERATION", "COUNT", "MEDIAN", "99 %", "LONGEST"}}};
  const auto add = [&durations](const std::string& name, const Operation& each) {
    durations.push_back(
        {{name, std::to_string(each.all), milliseconds(each.durations.percentile(50)),
          milliseconds(each.durations.percentile(99)), milliseconds(each.durations.largest())}});
  };
  for (const auto& [name, each] : operations_.known()) add(name, each);
  if (operations_.has_others()) add(kOthers, operations_.others());
  print_rows(out, "durations", std::move(durations));

  std::vector<TableRow> slowest = {
      {{"DURATION", "TIME", "OPERATION", "MECHANISM", "RESULT", "KEY"}}};
  for (const Record& each : slowest_)
    slowest.push_back({{milliseconds(each.duration_us), stamp(each.time), each.operation,
                        each.mechanism.empty() ? "-" : each.mechanism, each.result,
                        key_text(each.token, each.object)}});
  print_rows(out, "slowest operations", std::move(slowest));
}

Json Summary::json() const {
  Json json;
  add_counts(json, count_);
  json["first"] = first_ ? Json(stamp(*first_)) : Json();
  json["last"] = last_ ? Json(stamp(*last_)) : Json();
  json["uses"] = Json::array();
  for (const auto* each : biggest_first(uses_.known(), [](const Use& use) { return use.all; }))
    json["uses"].push_back(to_json(&each->first, each->second));
  if (uses_.has_others()) json["uses"].push_back(to_json(nullptr, uses_.others()));
  json["failed_logins"] = Json::array();
  for (const auto* each :
       biggest_first(logins_.known(), [](const Logins& one) { return one.failed; })) {
    if (each->second.failed != 0)
      json["failed_logins"].push_back(to_json(&each->first, each->second));
  }
  if (logins_.others().failed != 0)
    json["failed_logins"].push_back(to_json(nullptr, logins_.others()));
  json["failures"] = Json::array();
  for (const auto* each : biggest_first(failures_.known(), [](std::uint64_t one) { return one; }))
    json["failures"].push_back(
        {{"op", each->first.operation}, {"result", each->first.result}, {"count", each->second}});
  if (failures_.has_others())
    json["failures"].push_back({{"others", true}, {"count", failures_.others()}});
  json["operations"] = Json::array();
  for (const auto& [name, each] : operations_.known())
    json["operations"].push_back(to_json(name, each));
  if (operations_.has_others())
    json["operations"].push_back(to_json(kOthers, operations_.others()));
  json["slowest"] = Json::array();
  for (const Record& each : slowest_) json["slowest"].push_back(to_json(each));
  return json;
}

}  // namespace hwid::tool::audit
