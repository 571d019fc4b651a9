// hwid audit: who used which key, how often, and what failed.
#include <algorithm>
#include <utility>

#include "tools/hwid/audit/filter.h"
#include "tools/hwid/audit/lines.h"
#include "tools/hwid/audit/summary.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/invocation.h"

namespace hwid::tool {
namespace {

using audit::Filter;
using audit::Lines;
using audit::Record;

constexpr std::size_t kMostFiles = 500;

void add_options(po::options_description& options) {
  audit::add_filter_options(options);
  options.add_options()("lines", po::bool_switch(),
                        "the matching lines, as JSON lines, instead of a summary");
}

// What was read besides what matched.
struct Reading {
  std::uint64_t lines = 0;
  std::uint64_t foreign = 0;  // no audit lines
  std::uint64_t dropped = 0;  // told by lines in the wanted time, whatever key they are of
};

std::optional<audit::Time> first_time(Lines& lines) {
  std::string_view line;
  std::optional<audit::Time> time;
  while (!time && lines.next(line)) {
    if (const auto record = audit::parse_record(line)) time = record->time;
  }
  lines.rewind();
  return time;
}

// Each file once, whatever names it was given by, the oldest first; pipes last. What is rotated
// away meanwhile is still read: all are open.
std::vector<Lines> opened(const std::vector<std::string>& paths) {
  std::vector<std::pair<audit::Time, Lines>> files;
  for (const std::string& path : paths) {
    Lines lines(path);
    const auto twin = std::ranges::find_if(
        files, [&lines](const auto& other) { return other.second.same_file(lines); });
    if (twin != files.end()) {
      Output::note("hwid audit: " + path + " is " + twin->second.path() + ": it is read once");
      continue;
    }
    audit::Time time = audit::Time::max();
    if (lines.can_rewind()) time = first_time(lines).value_or(time);
    files.emplace_back(time, std::move(lines));
  }
  std::vector<std::size_t> order(files.size());
  for (std::size_t at = 0; at < order.size(); ++at) order[at] = at;
  std::ranges::stable_sort(
      order, [&files](std::size_t a, std::size_t b) { return files[a].first < files[b].first; });
  std::vector<Lines> sorted;
  sorted.reserve(order.size());
  for (const std::size_t at : order) sorted.push_back(std::move(files[at].second));
  return sorted;
}

template <typename Take>
Reading read(std::vector<Lines>& files, const Filter& filter, Take&& take) {
  Reading reading;
  for (Lines& lines : files) {
    std::string_view line;
    while (lines.next(line)) {
      if (line.empty()) continue;
      ++reading.lines;
      const std::optional<Record> record = audit::parse_record(line);
      if (!record) {
        ++reading.foreign;
      } else if (filter.admits_time(*record)) {
        reading.dropped += record->dropped;
        if (filter.admits(*record)) take(*record);
      }
    }
  }
  return reading;
}

void tell(const Reading& reading) {
  if (reading.foreign != 0)
    Output::note("hwid audit: " + std::to_string(reading.foreign) + " of " +
                 std::to_string(reading.lines) + " lines are no audit lines");
  if (reading.dropped != 0)
    Output::note("hwid audit: warning: " + std::to_string(reading.dropped) +
                 " events are missing: they could not be written; see that the disk is not full, "
                 "and that the system's logger keeps up");
}

Exit run(Invocation& invocation) {
  const Filter filter = Filter::read(invocation);
  const bool as_lines = invocation.flag("lines");
  Output& out = invocation.out();
  if (as_lines && out.json())
    throw UsageError("--lines: they are JSON already, one a line; leave out --json");
  std::vector<Lines> files = opened(invocation.arguments());
  audit::Summary summary;
  std::uint64_t matched = 0;
  const Reading reading = read(files, filter, [&](const Record& record) {
    ++matched;
    if (as_lines)
      out.line(audit::canonical(record));
    else
      summary.add(record);
  });
  if (!as_lines && matched != 0) summary.print(out);
  if (out.json()) {
    Json document = summary.json();
    document["dropped"] = reading.dropped;
    document["lines"] = reading.lines;
    document["foreign_lines"] = reading.foreign;
    out.document(document);
  }
  tell(reading);
  if (matched == 0) Output::note("hwid audit: no event matches");
  return matched != 0 ? kGood : kAnswerIsNo;
}

}  // namespace

const Command kAudit = {
    "audit",
    "FILE...",
    "who used which key how often, failed logins, slow operations",
    "Reads what the provider wrote where openssl.cnf says `audit = file:PATH` or `audit = "
    "syslog`:\n"
    "files of it, rotated ones too, in any order; a system log's lines, as rsyslog or journalctl\n"
    "write them; or the standard input (-). Counts by program, user and key; percentiles are up "
    "to\n"
    "3 percent too high. With --lines the events themselves, in the files' order of time.",
    "  hwid audit /var/log/hwid-audit.log --since 24h\n"
    "  hwid audit /var/log/hwid-audit.log* --op login --result failed\n"
    "  journalctl -t hwid-audit | hwid audit - --key device --json\n"
    "  zcat audit.log.2.gz | hwid audit - --lines --exe nginx\n",
    1,
    kMostFiles,
    add_options,
    run,
    false};

}  // namespace hwid::tool
