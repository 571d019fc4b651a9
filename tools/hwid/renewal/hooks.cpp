#include "tools/hwid/renewal/hooks.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>

#include "tools/hwid/child_process.h"
#include "tools/hwid/output.h"
#include "tools/hwid/renewal/schedule.h"
#include "transport/certificate_text.h"
#include "transport/utc_time.h"

namespace hwid::tool::renewal {
namespace {

constexpr std::chrono::seconds kPatience{60};

// As it comes back from a file of JSON, where the path's bytes are no UTF-8.
std::string name_in_state(const std::string& hook) {
  const std::string text = Json(hook).dump(-1, ' ', false, Json::error_handler_t::replace);
  return Json::parse(text).get<std::string>();
}

std::vector<std::string> due_hooks(const std::vector<std::string>& hooks, const State& state) {
  std::vector<std::string> due;
  for (const std::string& hook : hooks)
    if (!state.hooks_done.contains(name_in_state(hook)) &&
        std::ranges::find(due, hook) == due.end())
      due.push_back(hook);
  return due;
}

// Empty where it has succeeded.
std::string problem_of(const std::string& hook, const Environment& environment) {
  const ChildResult result = run_program({hook}, environment, kPatience);
  const std::string words = result.output.substr(0, result.output.find('\n'));
  if (result.problem.empty() || words.empty()) return result.problem;
  return result.problem + " (" + words + ")";
}

// The end of what programs have that know nothing of `current`; 0: there is none.
std::time_t end_before(const Generation& current, const transport::CredentialStore& store) {
  std::time_t ends = 0;
  for (const Generation& old : store.generations()) {
    const transport::X509Ptr certificate =
        old.number < current.number ? readable_certificate_of(old) : nullptr;
    if (certificate)
      ends = transport::nearest_time_t(transport::lifetime_of(certificate.get()).ends);
  }
  return ends;
}

// So that who looks sees it: the old certificate ends some day, and a program has it still.
void note_untold(std::time_t old_ends, HookFailure& failure) {
  if (failure.since != 0 && failure.untold_ends != 0) return;
  failure.since = std::time(nullptr);
  failure.untold_ends = old_ends;
}

}  // namespace

std::vector<std::string> run_due_hooks(const std::vector<std::string>& hooks,
                                       const transport::CredentialStore& store, State& state,
                                       const std::function<void()>& save) {
  const Generation current = *store.current();
  std::vector<std::string> failed;
  if (state.hooks_due != current.number) return failed;
  const auto due = due_hooks(hooks, state);
  if (due.empty()) return failed;  // as each time that the timer looks
  const Environment environment = {"HWID_NAME=" + store.directory().filename().string(),
                                   "HWID_GENERATION=" + std::to_string(current.number),
                                   "HWID_CERT=" + store.current_cert().string(),
                                   "HWID_KEY=" + store.current_key().string()};
  const std::time_t old_ends = end_before(current, store);
  for (const std::string& hook : due)
    note_untold(old_ends, state.hooks_failed[name_in_state(hook)]);
  for (const std::string& hook : due) {
    state.hook_run = {::getpid(), std::time(nullptr)};
    save();
    const std::string name = name_in_state(hook);
    const std::string problem = problem_of(hook, environment);
    if (problem.empty()) {
      state.hooks_done.insert(name);
      state.hooks_failed.erase(name);
    } else {
      state.hooks_failed[name].why = problem;
      failed.push_back(hook);
      failed.back().append(": ").append(problem);
    }
  }
  state.hook_run = {};
  save();
  return failed;
}

// The number may be another process's by now, after a boot say: so it counts for as long as a hook
// has, and what it takes to end it.
bool are_hooks_running(const State& state, std::time_t now) {
  constexpr std::time_t kMargin = 5;
  const auto [process, begun] = state.hook_run;
  if (process <= 0 || now < begun || now - begun > kPatience.count() + kMargin) return false;
  return ::kill(process, 0) == 0 || errno == EPERM;
}

void forget_lost_hooks(const std::vector<std::string>& hooks, State& state) {
  const std::time_t now = std::time(nullptr);
  const auto is_lost = [&](const std::string& name) {
    return std::ranges::find(hooks, name, name_in_state) == hooks.end();
  };
  std::erase_if(state.hooks_failed, [&](const auto& failed) {
    return is_lost(failed.first) && now >= failed.second.untold_ends;
  });
}

}  // namespace hwid::tool::renewal
