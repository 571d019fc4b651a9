#include "tools/hwid/renewal/state.h"

#include <hwid/transport_error.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "tools/hwid/output.h"
#include "transport/durable_file.h"

namespace hwid::tool::renewal {
namespace {

constexpr const char* kFile = "renewal.json";

// Throws nlohmann's exceptions.
State state_of(const Json& json) {
  State state;
  state.failures = json.value("failures", 0U);
  state.tried = json.value("tried", std::time_t{0});
  state.next = json.value("next", std::time_t{0});
  state.why = json.value("why", std::string());
  state.pending = json.value("pending", false);
  state.refused = json.value("refused", 0U);
  state.switched = json.value("switched", std::time_t{0});
  state.hooks_due = json.value("hooks_due", 0U);
  const Json keys = json.value("made_keys", Json::object());  // items() borrows
  for (const auto& [number, uri] : keys.items())
    state.made_keys[static_cast<unsigned>(std::stoul(number))] = uri.get<std::string>();
  return state;
}

}  // namespace

State read_state(const std::filesystem::path& directory) {
  const std::filesystem::path file = directory / kFile;
  std::ifstream in(file);
  if (!in && errno == ENOENT) return {};
  if (!in)
    throw transport::Error(transport::ErrorKind::environment, "remember the renewal", file.string(),
                           std::strerror(errno), "let the user that renews read and write it");
  std::ostringstream text;
  text << in.rdbuf();
  try {
    return state_of(Json::parse(text.str()));
  } catch (const std::exception&) {
    Output::note(file.string() + ": it is damaged, and counts as empty; it is written anew");
    return {};
  }
}

void write_state(const std::filesystem::path& directory, const State& state) {
  constexpr mode_t kMode = 0644;
  Json keys = Json::object();
  for (const auto& [number, uri] : state.made_keys) keys[std::to_string(number)] = uri;
  const Json json = {
      {"failures", state.failures}, {"tried", state.tried},         {"next", state.next},
      {"why", state.why},           {"pending", state.pending},     {"switched", state.switched},
      {"refused", state.refused},   {"hooks_due", state.hooks_due}, {"made_keys", keys}};
  transport::write_durably("remember the renewal", directory / kFile,
                           json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n", kMode);
}

}  // namespace hwid::tool::renewal
