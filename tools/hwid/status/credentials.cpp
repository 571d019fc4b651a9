#include "tools/hwid/status/credentials.h"

#include <hwid/transport_error.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "tools/hwid/facts.h"
#include "tools/hwid/provision/unregistered.h"
#include "tools/hwid/renewal/aws_issuer.h"
#include "tools/hwid/renewal/est_issuer.h"
#include "tools/hwid/renewal/hooks.h"
#include "tools/hwid/renewal/place.h"
#include "tools/hwid/renewal/schedule.h"
#include "tools/hwid/renewal/state.h"
#include "transport/certificate_text.h"
#include "transport/cloud/renewal_time.h"
#include "transport/credential_store.h"
#include "transport/utc_time.h"

namespace hwid::tool::status {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kFewFailures = 3;

struct Times {
  transport::Time due;
  transport::Time ends;
};

// Throws transport::Error.
Times times_of(const transport::DeviceConfig& config, const fs::path& directory) {
  const fs::path file = directory / "current" / "cert.pem";
  const auto chain = transport::read_certificates(file.string());
  if (chain.empty())
    throw transport::Error(transport::ErrorKind::environment, "read certificate", file.string(),
                           "there is none", "enrol anew: " + renewal::enrolment_command(config));
  const transport::Lifetime lifetime = transport::lifetime_of(chain.front().get());
  const auto policy = transport::parse_renew_at(config.renew_at).value_or(transport::RenewAt());
  return {transport::renewal_time(lifetime, policy, transport::draw_of(chain.front().get())),
          lifetime.ends};
}

// "gen-3 of gen-2, gen-3".
std::string generations_text(const fs::path& directory) {
  constexpr std::string_view kPrefix = "gen-";
  std::error_code failure;
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory, failure))
    if (entry.path().filename().string().starts_with(kPrefix))
      names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end(), [](const std::string& one, const std::string& other) {
    return one.size() != other.size() ? one.size() < other.size() : one < other;
  });
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  const std::string current = fs::read_symlink(directory / "current", failure).string();
  return current == all ? current : current + " of " + all;
}

// A certificate whose time has come for long is one that nobody renews.
State state_of(const renewal::State& state, const Times& times, transport::Time now) {
  const std::chrono::seconds left = times.ends - times.due;
  if (now >= times.ends) return State::kCritical;
  if (now > times.due + left * 3 / 4) return State::kCritical;
  const bool is_late = now > times.due + left / 4;
  return is_late || state.failures >= kFewFailures ? State::kWarning : State::kOk;
}

// What became of the tries; empty: nothing that went wrong.
std::string tries_text(const renewal::State& state, std::time_t now) {
  std::string text;
  if (state.pending) text += "; the CA has not decided on a request";
  if (state.failures > 0)
    text += "; " + std::to_string(state.failures) + " tries failed: " + state.why;
  if (state.next > now) text += "; next try " + end_text(state.next, now);
  return text;
}

void check_current(const transport::DeviceConfig& config, const fs::path& directory,
                   const renewal::State& state, std::time_t now, Report& report) {
  const std::string name = directory.filename().string();
  const Times times = times_of(config, directory);
  const std::time_t due = transport::nearest_time_t(times.due);
  const std::string haste = renewal::advice_on_haste(due, transport::nearest_time_t(times.ends));
  const State verdict = std::max(state_of(state, times, transport::Time(std::chrono::seconds(now))),
                                 haste.empty() ? State::kOk : State::kWarning);
  const std::string text = generations_text(directory) + "; renewal " +
                           (now < due ? "due " : "was due ") + end_text(due, now) +
                           tries_text(state, now);
  const std::string next = verdict == State::kOk ? ""
                           : state.failures > 0  ? "mend that, then: hwid renew --now"
                           : !haste.empty()      ? haste
                                                 : "see that hwid-renew.timer runs";
  const std::int64_t due_seconds = times.due.time_since_epoch().count();
  report.add({"renewal", name, directory.string(), verdict, due_seconds, text, next});
  report.sample("hwid_renewal_due_timestamp_seconds", {{"name", name}}, due_seconds);
  report.sample("hwid_renewal_failures", {{"name", name}}, state.failures);
}

// Programs may go on with the old certificate, until that ends.
void check_hook(const fs::path& directory, const renewal::State& state, std::time_t now,
                Report& report) {
  const std::string name = directory.filename().string();
  auto failures = state.hooks_failed;
  if (renewal::are_hooks_running(state, now))
    std::erase_if(failures, [](const auto& failed) { return failed.second.why.empty(); });
  const bool has_failed = !failures.empty();
  report.sample("hwid_renewal_hook_failed", {{"name", name}}, has_failed ? 1 : 0);
  if (!has_failed) return;
  std::string text;
  std::time_t ends = 0;  // the earliest one
  bool is_late = false;
  bool is_to_mend = false;
  for (const auto& [hook, failure] : failures) {
    text.append(text.empty() ? "" : "; ").append(hook).append(": ");
    text += failure.why.empty() ? "it has not ended: the renewal was interrupted" : failure.why;
    is_to_mend = is_to_mend || !failure.why.empty();
    const std::time_t its = failure.untold_ends;
    if (its == 0) continue;
    ends = ends == 0 ? its : std::min(ends, its);
    is_late = is_late || its - now <= (its - failure.since) / 2;
  }
  const bool is_old_there = ends != 0;
  if (is_old_there)
    text += std::string("; programs may have the old certificate, which ") +
            (ends > now ? "ends " : "ended ") + end_text(ends, now);
  std::string next = is_to_mend ? "mend it: " : "";
  next +=
      "the next hwid renew that has the hook runs it again; where it was taken away, one "
      "without it forgets it";
  if (is_old_there) next += " once that has ended";
  report.add({"hook", name, directory.string(), is_late ? State::kCritical : State::kWarning,
              is_old_there ? Json(static_cast<std::int64_t>(ends)) : Json(), text, next});
}

// How far it is with a generation that is not in use.
struct Stage {
  std::string text;
  std::string next;
  bool is_issued = false;
};

Stage stage_of(const transport::CredentialStore::Generation& begun, bool is_renewal) {
  const std::string again = "run the enrolment or renewal again: it goes on from there";
  if (!begun.cert.empty()) return {"has a certificate, and was never used", again, true};
  if (provision::is_unregistered(begun.key.parent_path()))
    return {"has a certificate that AWS has issued, and not registered",
            std::string("run ") + (is_renewal ? "hwid renew --now" : "hwid provision aws again") +
                ": it registers that for an hour, and gets another one later",
            true};
  if (!renewal::EstIssuer::request_of(begun).empty())
    return {"was asked for, and has no certificate yet", again};
  return {"was begun, and has no certificate yet", again};
}

// Beside a pair that is in use only what was issued is worth a row: of the rest its own row tells.
void check_begun(const transport::DeviceConfig& config, const fs::path& directory,
                 const renewal::State& state, std::time_t now, Report& report) {
  const std::string name = directory.filename().string();
  const auto seen = transport::CredentialStore::look_at(directory.parent_path(), name);
  if (!seen.candidate) return;
  const bool is_renewal = seen.current && renewal::AwsIssuer::is_meant(config);
  const Stage stage = stage_of(*seen.candidate, is_renewal);
  if (seen.current && !stage.is_issued) return;
  const bool hangs = !seen.current && state.failures >= kFewFailures;
  report.add({"enrolment", name, directory.string(), hangs ? State::kCritical : State::kWarning,
              seen.candidate->number,
              "generation " + std::to_string(seen.candidate->number) + " " + stage.text +
                  (seen.current ? "" : tries_text(state, now)),
              (state.failures > 0 && !seen.current ? "mend that, and " : "") + stage.next});
  if (!seen.current) report.sample("hwid_renewal_failures", {{"name", name}}, state.failures);
}

// What AWS lets in with a key that is here, or was, and nobody watches.
void check_deactivation(const transport::DeviceConfig& config, const fs::path& directory,
                        const renewal::State& state, Report& report) {
  const std::string name = directory.filename().string();
  const auto count = static_cast<std::int64_t>(state.to_deactivate.size());
  if (count > 0 || config.profile == transport::Profile::aws)
    report.sample("hwid_certificates_to_deactivate", {{"name", name}}, count);
  if (count == 0) return;
  std::string ids;
  for (const std::string& id : state.to_deactivate) ids += (ids.empty() ? "" : ", ") + id;
  report.add({"deactivation", name, directory.string(), State::kWarning, count,
              "AWS may keep in force what nothing uses any more: certificate " + ids,
              "aws iot update-certificate --new-status INACTIVE --certificate-id ID, then: hwid "
              "renew --deactivated ID"});
}

// Else it is somebody else's, who has the place below `state-dir`, too. `unknown`: who knows.
bool holds_credentials(const fs::path& directory, std::error_code& unknown) {
  for (fs::directory_iterator at(directory, unknown), end; !unknown && at != end;
       at.increment(unknown)) {
    const std::string name = at->path().filename().string();
    if (name == "current" || name == "renewal.json" || name.starts_with("gen-")) return true;
  }
  return false;
}

// What Azure's provisioning service has assigned.
void check_hub(const transport::DeviceConfig& config, Report& report) {
  const fs::path file = fs::path(config.state_dir) / "learned.conf";
  std::error_code unknown;
  const auto learned =
      fs::exists(file, unknown) ? transport::DeviceConfig::read(file) : transport::DeviceConfig();
  const std::string name =
      config.registration_id.empty() ? transport::credential_name(config) : config.registration_id;
  if (learned.profile == transport::Profile::azure && !learned.endpoint.empty())
    report.add({"hub", name, file.string(), State::kOk, learned.endpoint,
                "assigned: " + learned.endpoint + ", as device " + learned.client_id, ""});
  else
    report.add({"hub", name, file.string(), State::kWarning, nullptr,
                "none is assigned to the device yet", "hwid provision azure --config FILE"});
}

void check_name(const transport::DeviceConfig& config, const fs::path& directory, std::time_t now,
                Report& report) {
  const char* check = "renewal";
  try {
    const renewal::State state = renewal::read_state(directory);
    std::error_code unknown;
    if (fs::is_symlink(directory / "current", unknown))
      check_current(config, directory, state, now, report);
    check_hook(directory, state, now, report);
    check_deactivation(config, directory, state, report);
    check = "enrolment";
    check_begun(config, directory, state, now, report);
  } catch (const transport::Error& error) {
    report.add({check, directory.filename().string(), directory.string(), State::kCritical, nullptr,
                error.what(), ""});
  }
}

}  // namespace

void check_credentials(const transport::DeviceConfig& config, std::time_t now, Report& report) {
  if (config.state_dir.empty()) return;
  if (!config.id_scope.empty()) check_hub(config, report);
  std::error_code failure;
  for (fs::directory_iterator at(config.state_dir, failure), end; !failure && at != end;
       at.increment(failure)) {
    const fs::path& directory = at->path();
    const std::string name = directory.filename().string();
    std::error_code unknown;
    if (!at->is_directory(unknown) || !transport::CredentialStore::is_name(name)) continue;
    if (holds_credentials(directory, unknown))
      check_name(config, directory, now, report);
    else if (unknown)
      report.add({"renewal", name, directory.string(), State::kUnknown, nullptr,
                  "it cannot be read: " + unknown.message(),
                  "if it holds credentials: run hwid status as the user that renews them"});
  }
}

}  // namespace hwid::tool::status
