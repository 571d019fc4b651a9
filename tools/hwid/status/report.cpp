#include "tools/hwid/status/report.h"

#include <algorithm>
#include <array>

#include "tools/hwid/table.h"

namespace hwid::tool::status {
namespace {

constexpr std::array kWorstFirst = {State::kCritical, State::kWarning, State::kUnknown, State::kOk};

Colour colour_of(State state) {
  switch (state) {
    case State::kCritical:
      return Colour::kRed;
    case State::kWarning:
      return Colour::kYellow;
    case State::kOk:
      return Colour::kGreen;
    case State::kUnknown:
      break;
  }
  return Colour::kNone;
}

}  // namespace

const char* state_text(State state) noexcept {
  switch (state) {
    case State::kOk:
      return "ok";
    case State::kUnknown:
      return "unknown";
    case State::kWarning:
      return "warning";
    case State::kCritical:
      return "critical";
  }
  return "unknown";
}

void Report::add(Check check, const std::string& qualifier) {
  given_.push_back({check.subject, qualifier});
  checks_.push_back(std::move(check));
  tell_apart(checks_.back().check, given_.back().subject);
}

void Report::tell_apart(const std::string& check, const std::string& subject) {
  std::vector<std::size_t> same;
  for (std::size_t at = 0; at < checks_.size(); ++at) {
    if (checks_[at].check == check && given_[at].subject == subject) same.push_back(at);
  }
  for (const std::size_t at : same) {
    const std::string& qualifier = given_[at].qualifier;
    const bool is_alone = same.size() == 1 || qualifier.empty();
    std::string name = subject;
    if (!is_alone) name.append(", ").append(qualifier);
    checks_[at].subject = name;
    for (int number = 2; is_taken(at, checks_[at].subject); ++number)
      checks_[at].subject = std::string(name).append(" (").append(std::to_string(number)) + ")";
  }
}

// By one before it, or by one that came with another subject.
bool Report::is_taken(std::size_t by, const std::string& subject) const {
  for (std::size_t at = 0; at < checks_.size(); ++at) {
    const bool counts = at < by || given_[at].subject != given_[by].subject;
    if (at != by && counts && checks_[at].check == checks_[by].check &&
        checks_[at].subject == subject)
      return true;
  }
  return false;
}

void Report::sample(const char* metric, Labels labels, std::int64_t value) {
  const bool is_taken = std::ranges::any_of(samples_, [&](const Sample& other) {
    return std::string_view(other.metric) == metric && other.labels == labels;
  });
  if (!is_taken) samples_.push_back({metric, std::move(labels), value});
}

State Report::worst() const noexcept {
  State worst = State::kOk;
  for (const Check& check : checks_) {
    if (check.state != State::kUnknown) worst = std::max(worst, check.state);
  }
  return worst;
}

void Report::print(Output& out) const {
  std::vector<TableRow> rows;
  std::string counts;
  for (const State state : kWorstFirst) {
    const std::size_t before = rows.size();
    for (const Check& check : checks_) {
      if (check.state != state) continue;
      const std::string next = check.next.empty() ? "" : "; " + check.next;
      rows.push_back(
          {{state_text(state), check.check, check.subject, check.text + next}, colour_of(state)});
    }
    if (rows.size() != before)
      counts += (counts.empty() ? "" : ", ") + std::to_string(rows.size() - before) + " " +
                state_text(state);
  }
  print_table(out, rows);
  out.line();
  out.heading(counts.empty() ? "nothing to check" : counts);
}

Json Report::json() const {
  Json checks = Json::array();
  for (const State state : kWorstFirst) {
    for (const Check& check : checks_) {
      if (check.state != state) continue;
      checks.push_back({{"check", check.check},
                        {"subject", check.subject},
                        {"source", check.source},
                        {"state", state_text(state)},
                        {"value", check.value},
                        {"text", check.text},
                        {"next", check.next.empty() ? Json() : Json(check.next)}});
    }
  }
  return {{"state", state_text(worst())}, {"checks", checks}};
}

}  // namespace hwid::tool::status
