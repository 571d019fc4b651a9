#include "tools/hwid/pin_age.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdint>

#include "provider/core/error.h"
#include "provider/core/pin.h"
#include "tools/hwid/directory_lock.h"
#include "tools/hwid/files.h"
#include "tools/hwid/output.h"
#include "tools/hwid/paths.h"

namespace hwid::tool {
namespace {

using core::Config;
using core::Error;
using core::Reason;
using core::TokenInfo;

constexpr char kNextStep[] = "set state-dir in the provider's section to a directory of yours";

std::string record_directory(const Config& config) {
  if (!config.state_dir.empty()) return config.state_dir;
  const std::string state = user_directory("XDG_STATE_HOME", "/.local/state");
  return state.empty() ? "" : state + "/hwid";
}

std::string record_path(const std::string& directory) { return directory + "/pins.json"; }

// The array of entries; empty where nothing was recorded.
Json read_record(const std::string& path) {
  if (!file_exists(path)) return Json::array();
  const Json document = Json::parse(read_file(path), nullptr, false);
  if (document.is_object() && document.contains("pins") && document["pins"].is_array())
    return document["pins"];
  throw Error(Reason::kBadConfiguration,
              "file=" + path + ": no record of PINs; remove it, and their ages begin anew");
}

std::string text_of(const Json& entry, const char* key) {
  return entry.is_object() && entry.contains(key) && entry[key].is_string()
             ? entry[key].get<std::string>()
             : "";
}

// In printable form, which is UTF-8, as JSON's texts must be.
bool is_of(const Json& entry, const TokenInfo& token) {
  return text_of(entry, "serial") == printable(token.serial) &&
         text_of(entry, "label") == printable(token.label) &&
         text_of(entry, "model") == printable(token.model) &&
         text_of(entry, "manufacturer") == printable(token.manufacturer);
}

std::optional<PinAge> recorded(const TokenInfo& token, const Config& config) {
  const std::string directory = record_directory(config);
  if (directory.empty()) return std::nullopt;
  const std::string path = record_path(directory);
  for (const Json& entry : read_record(path)) {
    if (is_of(entry, token) && entry.contains("changed") && entry["changed"].is_number_integer())
      return PinAge{static_cast<std::time_t>(entry["changed"].get<std::int64_t>()), path};
  }
  return std::nullopt;
}

}  // namespace

std::string configured_pin_file(const TokenInfo& token, const Config& config) {
  const auto backend =
      std::ranges::find(config.backends, token.backend, &core::BackendConfig::name);
  return backend != config.backends.end() ? core::pin_source_path(backend->pin_source) : "";
}

std::optional<PinAge> pin_age(const TokenInfo& token, const Config& config) {
  std::optional<PinAge> age = recorded(token, config);
  const std::string file = configured_pin_file(token, config);
  struct stat status {};
  if (!file.empty() && ::stat(file.c_str(), &status) == 0 && (!age || age->since < status.st_mtime))
    age = PinAge{status.st_mtime, file};
  return age;
}

void record_pin_change(const TokenInfo& token, const Config& config) {
  const std::string directory = record_directory(config);
  if (directory.empty())
    throw Error(Reason::kNoObject, std::string("pins.json: HOME is not set; ") + kNextStep);
  make_private_directory(directory, kNextStep);
  const DirectoryLock lock(directory, "change of a PIN", kNextStep);
  const std::string path = record_path(directory);
  Json kept = Json::array();
  for (const Json& entry : read_record(path)) {
    if (!is_of(entry, token)) kept.push_back(entry);
  }
  kept.push_back({{"manufacturer", printable(token.manufacturer)},
                  {"model", printable(token.model)},
                  {"serial", printable(token.serial)},
                  {"label", printable(token.label)},
                  {"changed", std::time(nullptr)}});
  const Json document = {{"pins", kept}};
  write_file(path, document.dump(2) + "\n", 0600, Existing::kReplace);
}

}  // namespace hwid::tool
