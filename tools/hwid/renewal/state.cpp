#include "tools/hwid/renewal/state.h"

#include <hwid/transport_error.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "tools/hwid/files.h"
#include "tools/hwid/output.h"
#include "transport/durable_file.h"

namespace hwid::tool::renewal {
namespace {

constexpr const char* kWhat = "remember the renewal";
constexpr const char* kFile = "renewal.json";
constexpr const char* kAside = ".damaged";

// A member that is a number from 0 on. Throws std::runtime_error for anything else.
template <typename Number>
Number number_in(const Json& json, const char* name) {
  const auto value = json.find(name);
  if (value == json.end()) return 0;
  if (!value->is_number_unsigned()) throw std::runtime_error(name);
  return value->get<Number>();
}

unsigned generation_of(const std::string& text) {
  unsigned number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc() || end != text.data() + text.size()) throw std::runtime_error(text);
  return number;
}

// As versions had it that kept one text for all hooks: "/path: exit code 1 (its words)".
void take_older_failure(const Json& json, State& state) {
  const std::string text = json.value("hook_failed", std::string());
  std::size_t end = text.size();
  for (const char* how : {": exit code ", ": SIG", ": no end after "})
    end = std::min(end, text.find(how));
  if (end == text.size()) return;
  state.hooks_failed[text.substr(0, end)] = {text.substr(end + 2),
                                             number_in<std::time_t>(json, "hook_failed_since"),
                                             number_in<std::time_t>(json, "untold_ends")};
}

void take_hooks(const Json& json, State& state) {
  state.hooks_due = number_in<unsigned>(json, "hooks_due");
  state.hooks_done = json.value("hooks_done", std::set<std::string>());
  const Json run = json.value("hook_run", Json::object());
  state.hook_run = {number_in<pid_t>(run, "process"), number_in<std::time_t>(run, "begun")};
  if (!json.contains("hooks_failed")) return take_older_failure(json, state);
  for (const auto& [hook, failure] : json["hooks_failed"].items())
    state.hooks_failed[hook] = {failure.value("why", std::string()),
                                number_in<std::time_t>(failure, "since"),
                                number_in<std::time_t>(failure, "untold_ends")};
}

Json json_of(const std::map<std::string, HookFailure>& failures) {
  Json json = Json::object();
  for (const auto& [hook, failure] : failures)
    json[hook] = {
        {"why", failure.why}, {"since", failure.since}, {"untold_ends", failure.untold_ends}};
  return json;
}

// Throws nlohmann's exceptions and std::runtime_error.
State state_of(const Json& json) {
  if (!json.is_object()) throw std::runtime_error("no object");
  State state;
  state.failures = number_in<unsigned>(json, "failures");
  state.tried = number_in<std::time_t>(json, "tried");
  state.next = number_in<std::time_t>(json, "next");
  state.why = json.value("why", std::string());
  state.pending = json.value("pending", false);
  state.refused = number_in<unsigned>(json, "refused");
  state.switched = number_in<std::time_t>(json, "switched");
  take_hooks(json, state);
  const Json keys = json.value("made_keys", Json::object());  // items() borrows
  for (const auto& [number, uri] : keys.items())
    state.made_keys[generation_of(number)] = uri.get<std::string>();
  const Json superseded = json.value("superseded", Json::object());
  for (const auto& [number, since] : superseded.items())
    state.superseded[generation_of(number)] = number_in<std::time_t>(superseded, number.c_str());
  state.to_deactivate = json.value("to_deactivate", std::vector<std::string>());
  return state;
}

// Nothing where the file makes no sense. Throws transport::Error where it cannot be read.
std::optional<State> sound_state_in(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in && errno == ENOENT) return State();
  if (!in)
    throw transport::Error(transport::ErrorKind::environment, kWhat, file.string(),
                           std::strerror(errno), "let the user that renews read and write it");
  std::ostringstream text;
  text << in.rdbuf();
  try {
    return state_of(Json::parse(text.str()));
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

// One that no damaged file before has.
std::filesystem::path place_aside(const std::filesystem::path& file) {
  std::filesystem::path place = file.string() + kAside;
  for (unsigned number = 2; std::filesystem::exists(place); ++number)
    place = file.string() + kAside + "-" + std::to_string(number);
  return place;
}

}  // namespace

void note_switch(State& state, unsigned generation) {
  state.hooks_due = generation;
  state.hooks_done.clear();
  state.switched = std::time(nullptr);
  state.failures = 0;
  state.tried = state.next = 0;
  state.refused = 0;
  state.pending = false;
  state.why.clear();
}

bool has_state(const std::filesystem::path& directory) {
  return file_exists((directory / kFile).string());
}

State read_state(const std::filesystem::path& directory) {
  const std::filesystem::path file = directory / kFile;
  if (auto state = sound_state_in(file)) return *std::move(state);
  Output::note(std::string(kWhat) + ": " + file.string() +
               ": it is damaged, so that tries that failed are not known; the next renewal sets it "
               "aside");
  return {};
}

State take_state(const std::filesystem::path& directory) {
  const std::filesystem::path file = directory / kFile;
  if (auto state = sound_state_in(file)) return *std::move(state);
  const std::filesystem::path aside = place_aside(file);
  transport::rename_durably(kWhat, file, aside);
  Output::note(std::string(kWhat) + ": " + file.string() + ": it is damaged, and is now " +
               aside.filename().string() +
               "; it is begun anew, and keys that --new-key made before stay when their "
               "generations go: look for them with hwid list, and remove them with hwid delete; "
               "ids of AWS's "
               "certificates that are to be deactivated may be in it");
  return {};
}

void write_state(const std::filesystem::path& directory, const State& state) {
  constexpr mode_t kMode = 0644;
  Json keys = Json::object();
  for (const auto& [number, uri] : state.made_keys) keys[std::to_string(number)] = uri;
  Json superseded = Json::object();
  for (const auto& [number, since] : state.superseded) superseded[std::to_string(number)] = since;
  const Json json = {
      {"failures", state.failures},
      {"tried", state.tried},
      {"next", state.next},
      {"why", state.why},
      {"pending", state.pending},
      {"switched", state.switched},
      {"refused", state.refused},
      {"hooks_due", state.hooks_due},
      {"hooks_done", state.hooks_done},
      {"hooks_failed", json_of(state.hooks_failed)},
      {"hook_run", {{"process", state.hook_run.process}, {"begun", state.hook_run.begun}}},
      {"made_keys", keys},
      {"superseded", superseded},
      {"to_deactivate", state.to_deactivate}};
  transport::write_durably(kWhat, directory / kFile,
                           json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n", kMode);
}

}  // namespace hwid::tool::renewal
