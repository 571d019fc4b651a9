// What `hwid status` found, as rows and as metrics.
#pragma once

#include <cstdint>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include "tools/hwid/output.h"

namespace hwid::tool::status {

// In the order of how bad they are. kUnknown: the device or system does not tell; that is no fault.
enum class State { kOk, kUnknown, kWarning, kCritical };
const char* state_text(State state) noexcept;

struct Check {
  // "certificate", "crl", "enrolment", "renewal", "hook", "hub", "deactivation", "token", "pin",
  // "pin-age", "lockout", "clock"
  std::string check;
  std::string subject;  // what was looked at: unique among those of the same check
  std::string source;   // the file or URI that leads there
  State state = State::kUnknown;
  Json value = nullptr;  // of the check's kind: a time (seconds since 1970), a count, a word
  std::string text;
  std::string next;  // what to do; empty where nothing is
};

using Labels = std::vector<std::pair<std::string, std::string>>;
struct Sample {
  const char* metric;
  Labels labels;
  std::int64_t value;
};

// All texts may hold anything: printing and prometheus_text() make them harmless. One thread.
class Report {
 public:
  // Where a check has a subject more than once, `qualifier` (a serial number) is added to all of
  // them: which one a token lists first must change no name.
  void add(Check check, const std::string& qualifier = "");
  // Once for the same labels: later ones are dropped.
  void sample(const char* metric, Labels labels, std::int64_t value);

  const std::vector<Check>& checks() const noexcept { return checks_; }
  const std::vector<Sample>& samples() const noexcept { return samples_; }
  // kOk where there is nothing worse than kUnknown.
  State worst() const noexcept;

  void print(Output& out) const;  // the worst first
  Json json() const;

 private:
  struct Given {
    std::string subject, qualifier;
  };
  void tell_apart(const std::string& check, const std::string& subject);
  bool is_taken(std::size_t by, const std::string& subject) const;

  std::vector<Check> checks_;
  std::vector<Given> given_;  // of each, as it came
  std::vector<Sample> samples_;
};

// node_exporter's textfile format (Prometheus' text format 0.0.4), with hwid_check_state of all
// checks but unknown ones, and the time of it.
std::string prometheus_text(const Report& report, std::time_t now);

}  // namespace hwid::tool::status
