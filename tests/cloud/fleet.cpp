#include "cloud/fleet.h"

#include <algorithm>
#include <cstdio>
#include <fstream>

namespace hwid::stand_in {

namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

const std::string kCreate = "$aws/certificates/create-from-csr/json";
const std::string kTemplates = "$aws/provisioning-templates/";
const std::string kProvision = "/provision/json";

struct Refusal {
  int status;
  const char* code;
  std::string message;
};

bool begins_with(const std::string& text, const std::string& start) {
  return text.rfind(start, 0) == 0;
}

// Of $aws/provisioning-templates/NAME/provision/json; empty: another topic.
std::string template_of(const std::string& topic) {
  const auto end = topic.size() - std::min(topic.size(), kProvision.size());
  if (!begins_with(topic, kTemplates) || topic.substr(end) != kProvision) return {};
  const std::string name = topic.substr(kTemplates.size(), end - kTemplates.size());
  return name.find('/') == std::string::npos ? name : "";
}

std::string text_in(const json& question, const char* name) {
  const auto value = question.find(name);
  return value != question.end() && value->is_string() ? value->get<std::string>() : "";
}

json rejected(const Refusal& refusal) {
  return {{"statusCode", refusal.status},
          {"errorCode", refusal.code},
          {"errorMessage", refusal.message}};
}

std::string filled(std::string text, const json& parameters) {
  for (const auto& [name, value] : parameters.items()) {
    const std::string place = "{" + name + "}";
    for (auto at = text.find(place); at != std::string::npos; at = text.find(place))
      text.replace(at, place.size(), value.get<std::string>());
  }
  return text;
}

}  // namespace

Fleet::Fleet(const Options& options)
    : file_(option(options, "fleet")),
      registry_(option(options, "fleet") + ".registry"),
      authority_(option(options, "authority"), option(options, "authority_key")) {
  settings();
  write_registry();
}

json Fleet::settings() const { return json::parse(read_file(file_)); }

bool Fleet::is_claim(const Client& client) const {
  const json claims = settings().at("claims");
  return std::find(claims.begin(), claims.end(), client.identity) != claims.end();
}

std::optional<std::vector<std::string>> Fleet::things_of(const Client& client) const {
  const auto found = issued_.find(client.fingerprint);
  if (found == issued_.end() || found->second.state != "ACTIVE") return std::nullopt;
  return std::vector<std::string>{found->second.thing};
}

void Fleet::connected(const Client& client) {
  if (!settings().value("token-connection", false)) return;
  for (auto token = tokens_.begin(); token != tokens_.end();)
    token = token->second.client == client.id ? tokens_.erase(token) : std::next(token);
}

std::string Fleet::step_of(const std::string& topic) {
  if (topic == kCreate) return "create";
  return template_of(topic).empty() ? "" : "register";
}

void Fleet::refuse(const Publication& message, int status, const Send& send) {
  send({}, message.topic + "/rejected",
       rejected({status, "AFaultOfTheTest", "said by the test"}).dump());
}

bool Fleet::published(const Client& client, const Publication& message, const Send& send) {
  const std::string step = step_of(message.topic);
  if (step.empty()) return false;
  try {
    const json question = json::parse(message.payload, nullptr, false);
    if (!question.is_object()) throw Refusal{400, "InvalidPayload", "Failed to parse the payload"};
    const json answer = step == "create"
                            ? create(client, question)
                            : register_thing(client, template_of(message.topic), question);
    send(client.id, message.topic + "/accepted", answer.dump());
  } catch (const Refusal& refusal) {
    send(client.id, message.topic + "/rejected", rejected(refusal).dump());
  }
  return true;
}

json Fleet::create(const Client& client, const json& question) {
  try {
    const Certificate made = authority_.sign(text_in(question, "certificateSigningRequest"));
    const std::string id = fingerprint_of(made.get());
    const std::string token = "token-" + id + "-" + std::to_string(tokens_.size());
    issued_[id] = {};
    tokens_[token] = {id, client.id,
                      Clock::now() + std::chrono::seconds(settings().value("token-seconds", 3600))};
    write_registry();
    return {{"certificateOwnershipToken", token},
            {"certificateId", id},
            {"certificatePem", pem_of(made.get())}};
  } catch (const std::runtime_error& error) {
    throw Refusal{400, "InvalidCertificateSigningRequest", error.what()};
  }
}

void Fleet::check_token(const std::string& text, const Client& client) const {
  constexpr const char* kCode = "InvalidCertificateOwnershipToken";
  if (text.empty()) throw Refusal{400, kCode, "Certificate ownership token cannot be empty."};
  const auto found = tokens_.find(text);
  const json set = settings();
  const bool good = found != tokens_.end() && found->second.end > Clock::now() &&
                    !(set.value("token-connection", false) && found->second.client != client.id) &&
                    !(set.value("token-once", false) && found->second.used);
  if (!good) throw Refusal{400, kCode, "The token is not, or no longer, good"};
}

json Fleet::register_thing(const Client& client, const std::string& name, const json& question) {
  const json templates = settings().at("templates");
  const auto found = templates.find(name);
  if (found == templates.end())
    throw Refusal{404, "ResourceNotFoundException", "There is no template " + name};
  const std::string text = text_in(question, "certificateOwnershipToken");
  check_token(text, client);
  if (!found->value("enabled", true))
    throw Refusal{403, "AccessDenied", "The template is not enabled"};
  const json parameters = question.value("parameters", json::object());
  for (const auto& needed : found->at("parameters"))
    if (text_in(parameters, needed.get<std::string>().c_str()).empty())
      throw Refusal{400, "InvalidParameters", "Missing parameter: " + needed.get<std::string>()};
  Token& token = tokens_.at(text);
  token.used = true;
  Issued& issued = issued_[token.certificate];
  issued = {"ACTIVE", filled(found->at("thing"), parameters)};
  write_registry();
  json answer = {{"thingName", issued.thing}, {"deviceConfiguration", json::object()}};
  if (found->contains("configuration")) answer["deviceConfiguration"] = found->at("configuration");
  return answer;
}

void Fleet::write_registry() const {
  json all = json::object();
  for (const auto& [id, issued] : issued_)
    all[id] = {{"state", issued.state}, {"thing", issued.thing}};
  std::ofstream(registry_ + ".new") << all.dump();
  std::rename((registry_ + ".new").c_str(), registry_.c_str());
}

}  // namespace hwid::stand_in
