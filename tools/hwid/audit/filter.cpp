#include "tools/hwid/audit/filter.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "tools/hwid/time_words.h"

namespace hwid::tool::audit {
namespace {

namespace field = core::audit_field;

constexpr std::array kOperations = {field::kLoad,   field::kLogin,    field::kSign, field::kDecrypt,
                                    field::kDerive, field::kGenerate, kEnrol};
constexpr std::string_view kFailed = "failed";

std::optional<Time> time_option(const Invocation& invocation, const char* option) {
  if (!invocation.has(option)) return std::nullopt;
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  return Time(parse_time(option, invocation.text(option), now));
}

bool is_of_program(const std::string& exe, const std::string& wanted) noexcept {
  if (wanted.find('/') != std::string::npos) return exe == wanted;
  const std::string_view whole = exe;
  return whole.substr(whole.rfind('/') + 1) == wanted;  // npos + 1 is 0
}

}  // namespace

void add_filter_options(po::options_description& options) {
  const auto text = [](const char* name) { return po::value<std::string>()->value_name(name); };
  const auto number = [] { return po::value<std::uint32_t>()->value_name("N"); };
  auto add = options.add_options();
  add("since", text("TIME"),
      "events from then on: 2026-11-28, 2026-11-28T10:00 (UTC), or how long ago: 24h, 7d");
  add("until", text("TIME"), "events before that");
  add("op", text("OPERATION"), "load, login, sign, decrypt, derive, generate or enrol");
  add("key", text("LABEL"), "of that key (the trail's `object`)");
  add("token", text("LABEL"), "on that token");
  add("result", text("RESULT"), "ok, failed, or a name such as CKR_PIN_INCORRECT");
  add("pid", number(), "of that process");
  add("uid", number(), "of that user");
  add("exe", text("PROGRAM"), "of that program: its path, or its name");
}

Filter Filter::read(const Invocation& invocation) {
  Filter filter;
  filter.since = time_option(invocation, "since");
  filter.until = time_option(invocation, "until");
  filter.operation = invocation.text("op");
  filter.key = invocation.text("key");
  filter.token = invocation.text("token");
  filter.result = invocation.text("result");
  filter.exe = invocation.text("exe");
  filter.pid = invocation.value<std::uint32_t>("pid");
  filter.uid = invocation.value<std::uint32_t>("uid");
  if (invocation.has("op") && std::ranges::count(kOperations, filter.operation) == 0)
    throw UsageError("--op: \"" + filter.operation +
                     "\" is none of load, login, sign, decrypt, derive, generate");
  if (filter.since && filter.until && *filter.since >= *filter.until)
    throw UsageError("--since, --until: nothing is between these times");
  return filter;
}

bool Filter::admits_time(const Record& record) const noexcept {
  return (!since || record.time >= *since) && (!until || record.time < *until);
}

bool Filter::admits(const Record& record) const noexcept {
  const auto fits = [](const std::string& wanted, const std::string& text) {
    return wanted.empty() || wanted == text;
  };
  return fits(operation, record.operation) && fits(key, record.object) &&
         fits(token, record.token) &&
         (result == kFailed ? !record.is_ok() : fits(result, record.result)) &&
         (exe.empty() || is_of_program(record.exe, exe)) && (!pid || *pid == record.pid) &&
         (!uid || *uid == record.uid);
}

}  // namespace hwid::tool::audit
