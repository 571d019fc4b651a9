#include "tools/hwid/provision/unregistered.h"

#include "provider/core/secret.h"
#include "tools/hwid/files.h"
#include "tools/hwid/output.h"
#include "transport/durable_file.h"

namespace hwid::tool::provision {
namespace {

using transport::aws::Unregistered;

constexpr const char* kWhat = "remember the certificate that is not registered";
constexpr const char* kFile = "unregistered.json";
constexpr const char* kId = "certificateId";
constexpr const char* kPem = "certificatePem";
constexpr const char* kToken = "certificateOwnershipToken";
constexpr const char* kEnds = "ends";

bool is_sound(const Json& json) {
  if (!json.is_object()) return false;
  for (const char* name : {kId, kPem, kToken})
    if (const auto value = json.find(name); value == json.end() || !value->is_string())
      return false;
  const auto ends = json.find(kEnds);
  return ends != json.end() && ends->is_number_unsigned();
}

}  // namespace

bool is_unregistered(const std::filesystem::path& generation) {
  return file_exists((generation / kFile).string());
}

std::optional<Unregistered> read_unregistered(const std::filesystem::path& generation) {
  const std::string file = (generation / kFile).string();
  if (!file_exists(file)) return std::nullopt;
  std::string text = read_file(file);
  const core::Cleansed text_guard(text);
  Json json = Json::parse(text, nullptr, false);
  if (!is_sound(json)) {
    Output::note(std::string(kWhat) + ": " + file +
                 ": it is damaged; another certificate is asked for");
    return std::nullopt;
  }
  auto& token = json[kToken].get_ref<std::string&>();
  const core::Cleansed token_guard(token);
  return Unregistered{{json[kId].get<std::string>(), "", json[kPem].get<std::string>()},
                      transport::SecretText(token.data(), token.size()),
                      json[kEnds].get<std::time_t>()};
}

void keep_unregistered(const std::filesystem::path& generation, const Unregistered& made) {
  constexpr mode_t kMode = 0600;
  Json json = {{kId, made.issued.certificate_id},
               {kPem, made.issued.certificate_pem},
               {kToken, made.token.reveal()},
               {kEnds, made.ends}};
  const core::Cleansed token_guard(json[kToken].get_ref<std::string&>());
  std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  const core::Cleansed text_guard(text);
  transport::write_durably(kWhat, generation / kFile, text, kMode);
}

void forget_unregistered(const std::filesystem::path& generation) {
  transport::remove_durably(kWhat, generation / kFile);
}

}  // namespace hwid::tool::provision
