#include "tools/hwid/status/credentials.h"

#include <hwid/transport_error.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "tools/hwid/facts.h"
#include "tools/hwid/renewal/state.h"
#include "transport/certificate_text.h"
#include "transport/cloud/renewal_time.h"

namespace hwid::tool::status {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kFewFailures = 3;

struct Times {
  std::time_t due = 0;
  std::time_t ends = 0;
};

// Throws transport::Error.
Times times_of(const transport::DeviceConfig& config, const fs::path& directory) {
  const fs::path file = directory / "current" / "cert.pem";
  const auto chain = transport::read_certificates(file.string());
  if (chain.empty())
    throw transport::Error(transport::ErrorKind::environment, "read certificate", file.string(),
                           "there is none", "enrol anew: hwid enroll est");
  const transport::Lifetime lifetime = transport::lifetime_of(chain.front().get());
  const auto policy = transport::parse_renew_at(config.renew_at).value_or(transport::RenewAt());
  const auto due =
      transport::renewal_time(lifetime, policy, transport::draw_of(chain.front().get()));
  return {due.time_since_epoch().count(), lifetime.ends.time_since_epoch().count()};
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
State state_of(const renewal::State& state, const Times& times, std::time_t now) {
  const std::time_t left = times.ends - times.due;
  if (now >= times.ends) return State::kCritical;
  if (now > times.due + left * 3 / 4) return State::kCritical;
  const bool is_late = now > times.due + left / 4;
  return is_late || state.failures >= kFewFailures ? State::kWarning : State::kOk;
}

void check_one(const transport::DeviceConfig& config, const fs::path& directory, std::time_t now,
               Report& report) {
  const std::string name = directory.filename().string();
  const renewal::State state = renewal::read_state(directory);
  const Times times = times_of(config, directory);
  const State verdict = state_of(state, times, now);
  std::string text = generations_text(directory) + "; renewal " +
                     (now < times.due ? "due " : "was due ") + end_text(times.due, now);
  if (state.pending) text += "; the CA has not decided on a request";
  if (state.failures > 0)
    text += "; " + std::to_string(state.failures) + " tries failed: " + state.why;
  if (state.next > now) text += "; next try " + end_text(state.next, now);
  const std::string next = verdict == State::kOk ? ""
                           : state.failures > 0  ? "mend that, then: hwid renew --now"
                                                 : "see that hwid-renew.timer runs";
  report.add({"renewal", name, directory.string(), verdict, static_cast<std::int64_t>(times.due),
              text, next});
  report.sample("hwid_renewal_due_timestamp_seconds", {{"name", name}},
                static_cast<std::int64_t>(times.due));
  report.sample("hwid_renewal_failures", {{"name", name}}, state.failures);
}

}  // namespace

void check_credentials(const transport::DeviceConfig& config, std::time_t now, Report& report) {
  if (config.state_dir.empty()) return;
  std::error_code failure;
  for (fs::directory_iterator at(config.state_dir, failure), end; !failure && at != end;
       at.increment(failure)) {
    const fs::directory_entry& entry = *at;
    std::error_code unknown;
    if (!fs::is_symlink(entry.path() / "current", unknown)) continue;
    try {
      check_one(config, entry.path(), now, report);
    } catch (const transport::Error& error) {
      const std::string name = entry.path().filename().string();
      report.add(
          {"renewal", name, entry.path().string(), State::kCritical, nullptr, error.what(), ""});
    }
  }
}

}  // namespace hwid::tool::status
