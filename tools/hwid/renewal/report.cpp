#include "tools/hwid/renewal/report.h"

#include <unistd.h>

#include <cstring>

#include "tools/hwid/facts.h"
#include "tools/hwid/renewal/schedule.h"
#include "transport/certificate_text.h"

namespace hwid::tool::renewal {
namespace {

const char* word_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::not_due:
      return "not due";
    case Outcome::due:
      return "due";
    case Outcome::waiting:
      return "waiting";
    case Outcome::pending:
      return "pending";
    case Outcome::done:
      return "new certificate in use";
    case Outcome::failed:
      break;
  }
  return "failed";
}

std::string time_text(std::time_t time) {
  return time == 0 ? "" : end_text(time, std::time(nullptr));
}

Json time_json(std::time_t time) { return time == 0 ? Json() : Json(transport::utc_text(time)); }

std::string haste_of(const Report& report) {
  return report.ends == 0 ? "" : advice_on_haste(report.due, report.ends);
}

void print_for_people(Output& out, const Report& report) {
  out.heading(report.name + ": " + word_of(report.outcome));
  const auto field = [&](const char* key, const std::string& value) {
    if (!value.empty()) out.field(key, value);
  };
  field("generation", report.generation == 0 ? "" : std::to_string(report.generation));
  field("subject", report.subject);
  field("serial", report.serial);
  field("ends", time_text(report.ends));
  field("renewal due", time_text(report.due));
  field("short of time", haste_of(report));
  for (const std::string& id : report.to_deactivate) {
    std::string text = id;
    text.append(" (AWS may keep it in force; once that is over: hwid renew --deactivated ");
    field("to deactivate", text.append(id).append(")"));
  }
  field("next try", time_text(report.next));
  field("why", report.why);
  for (const std::string& removed : report.removed) field("removed", removed);
  field("hook failed", report.hook_failed);
  field("not removed", report.clean_up_failed);
}

}  // namespace

Exit print(Output& out, const Report& report) {
  if (!out.json()) print_for_people(out, report);
  const auto text = [](const std::string& value) { return value.empty() ? Json() : Json(value); };
  out.document({{"name", report.name},
                {"outcome", word_of(report.outcome)},
                {"generation", report.generation == 0 ? Json() : Json(report.generation)},
                {"subject", report.subject},
                {"serial", report.serial},
                {"ends", time_json(report.ends)},
                {"renewal_due", time_json(report.due)},
                {"short_of_time", text(haste_of(report))},
                {"next_try", time_json(report.next)},
                {"why", text(report.why)},
                {"removed", report.removed},
                {"to_deactivate", report.to_deactivate},
                {"hook_failed", text(report.hook_failed)},
                {"clean_up_failed", text(report.clean_up_failed)}});
  // Who waits after a try that failed has not renewed either.
  const bool has_failed = report.outcome == Outcome::failed || report.outcome == Outcome::waiting;
  if (has_failed || !report.hook_failed.empty()) return kAnswerIsNo;
  return report.outcome == Outcome::pending ? kPending : kGood;
}

void add_common_options(po::options_description& options) {
  auto add = options.add_options();
  add("config", po::value<std::string>()->value_name("FILE"),
      "the device.conf that says state-dir, est-url and the rest");
  add("name", po::value<std::string>()->value_name("NAME"),
      "of the credentials below state-dir (default: NAME of key = hwid://NAME, else device)");
  add("hook", po::value<std::vector<std::string>>()->value_name("FILE")->composing(),
      "a program, by its absolute path, that is run when a new certificate is in use, with "
      "HWID_NAME, HWID_CERT, "
      "HWID_KEY and HWID_GENERATION; may be given several times");
}

std::vector<std::string> hooks_of(const Invocation& invocation) {
  auto hooks =
      invocation.value<std::vector<std::string>>("hook").value_or(std::vector<std::string>());
  for (const std::string& hook : hooks) {
    if (!hook.starts_with('/'))  // what is looked for in PATH may be another one
      throw UsageError("--hook " + hook + ": name a program by its absolute path");
    if (::access(hook.c_str(), X_OK) != 0)
      throw UsageError("--hook " + hook + ": " + std::strerror(errno));
  }
  return hooks;
}

}  // namespace hwid::tool::renewal
