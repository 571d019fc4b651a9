#include "tools/hwid/provision/registration.h"

#include <algorithm>

#include "tools/hwid/files.h"
#include "tools/hwid/output.h"
#include "tools/hwid/provision/unregistered.h"
#include "transport/durable_file.h"

namespace hwid::tool::provision {
namespace {

constexpr const char* kWhat = "remember the registration";
constexpr const char* kFile = "registration.json";
constexpr const char* kThing = "thing_name";
constexpr const char* kId = "certificate_id";
constexpr const char* kArn = "certificate_arn";
constexpr const char* kConfiguration = "device_configuration";

bool is_sound(const Json& json) {
  if (!json.is_object() || !json.contains(kId)) return false;
  for (const char* name : {kThing, kId, kArn})
    if (const auto value = json.find(name); value != json.end() && !value->is_string())
      return false;
  return true;
}

// Durably, in one step. Throws transport::Error.
void keep(const std::filesystem::path& generation, const Json& json) {
  constexpr mode_t kMode = 0600;  // the configuration is whatever the template's owner wrote
  transport::write_durably(kWhat, generation / kFile,
                           json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n", kMode);
}

void keep_registration(const std::filesystem::path& generation,
                       const transport::aws::Registration& registration) {
  Json json = {{kThing, registration.thing_name}, {kId, registration.issued.certificate_id}};
  if (!registration.device_configuration.empty())
    json[kConfiguration] = Json::parse(registration.device_configuration);
  keep(generation, json);
}

std::optional<Json> sound_registration_in(const std::string& file) {
  if (!file_exists(file)) return std::nullopt;
  Json json = Json::parse(read_file(file), nullptr, false);
  if (is_sound(json)) return json;
  Output::note(std::string(kWhat) + ": " + file +
               ": it is damaged, so that what AWS said of the device is not known");
  return std::nullopt;
}

// What a run has kept that was killed behind the answer. Its token may have been good for once.
std::optional<transport::aws::Registration> answered(
    const std::filesystem::path& generation,
    const std::optional<transport::aws::Unregistered>& made) {
  const auto json = made ? sound_registration_in((generation / kFile).string()) : std::nullopt;
  if (!json || !json->contains(kThing) || json->at(kId) != made->issued.certificate_id)
    return std::nullopt;
  const auto configuration = json->find(kConfiguration);
  return transport::aws::Registration{made->issued, json->at(kThing).get<std::string>(),
                                      configuration == json->end() ? "" : configuration->dump()};
}

}  // namespace

transport::aws::Registration register_device(const transport::DeviceConfig& config,
                                             const std::string& csr,
                                             const std::optional<std::filesystem::path>& begun,
                                             const std::function<std::filesystem::path()>& begin,
                                             const std::function<void(const std::string&)>& give_up,
                                             const transport::cloud::Patience& patience) {
  auto made = begun ? read_unregistered(*begun) : std::nullopt;
  std::string kept = made ? made->issued.certificate_id : "";
  const auto keep_made = [&](const transport::aws::Unregistered& next) {
    if (!kept.empty() && kept != next.issued.certificate_id) give_up(kept);
    keep_unregistered(begin(), next);
    kept = next.issued.certificate_id;
  };
  if (begun)
    if (auto before = answered(*begun, made)) return *std::move(before);
  auto registration = transport::aws::provision(config, csr, std::move(made), keep_made, patience);
  // One that a person had made, and has not brought into use.
  const std::string other = certificate_id_in(begin());
  if (!other.empty() && other != registration.issued.certificate_id) give_up(other);
  keep_registration(begin(), registration);
  return registration;
}

transport::Learned learned_from(const transport::DeviceConfig& config,
                                const transport::aws::Registration& registration) {
  transport::Learned learned = {{"thing-name", registration.thing_name}, {"profile", "aws"}};
  if (config.client_id.empty() || config.client_id == config.thing_name)
    learned["client-id"] = registration.thing_name;
  return learned;
}

enrol::Facts read_registration(const std::filesystem::path& generation) {
  const auto json = sound_registration_in((generation / kFile).string());
  if (!json) return {};
  enrol::Facts facts;
  for (const char* name : {kThing, kId, kArn, kConfiguration})
    if (const auto value = json->find(name); value != json->end()) facts.emplace_back(name, *value);
  return facts;
}

std::string certificate_id_in(const std::filesystem::path& generation) {
  const auto json = sound_registration_in((generation / kFile).string());
  return json ? json->at(kId).get<std::string>() : "";
}

std::vector<std::string> certificate_ids_in(const std::filesystem::path& generation) {
  std::vector<std::string> ids;
  if (std::string id = certificate_id_in(generation); !id.empty()) ids.push_back(std::move(id));
  const auto made = read_unregistered(generation);
  if (made && (ids.empty() || ids.front() != made->issued.certificate_id))
    ids.push_back(made->issued.certificate_id);
  return ids;
}

std::vector<std::string> certificate_ids_only_in(const std::filesystem::path& generation,
                                                 const transport::CredentialStore& store) {
  std::vector<std::string> ids = certificate_ids_in(generation);
  for (const auto& other : store.generations()) {
    const std::filesystem::path directory = other.key.parent_path();
    if (ids.empty() || directory == generation) continue;
    const std::vector<std::string> its = certificate_ids_in(directory);
    std::erase_if(ids,
                  [&](const std::string& id) { return std::ranges::find(its, id) != its.end(); });
  }
  return ids;
}

std::string thing_name_in(const std::filesystem::path& generation) {
  const auto json = sound_registration_in((generation / kFile).string());
  return json ? json->value(kThing, "") : "";
}

void keep_issued(const std::filesystem::path& generation, const transport::aws::Issued& issued) {
  Json json = {{kId, issued.certificate_id}};
  if (!issued.certificate_arn.empty()) json[kArn] = issued.certificate_arn;
  keep(generation, json);
}

void forget_certificate(const std::filesystem::path& generation,
                        const std::string& certificate_id) {
  if (certificate_id_in(generation) == certificate_id)
    transport::remove_durably(kWhat, generation / kFile);
  const auto made = read_unregistered(generation);
  if (made && made->issued.certificate_id == certificate_id) forget_unregistered(generation);
}

}  // namespace hwid::tool::provision
