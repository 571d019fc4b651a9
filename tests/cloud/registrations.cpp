#include "cloud/registrations.h"

namespace hwid::stand_in {

namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

const std::string kPut = "$dps/registrations/PUT/iotdps-register/?$rid=";
const std::string kGet = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=";
const std::string kAnswers = "$dps/registrations/res/";
constexpr int kTooManyRequests = 429;

bool begins_with(const std::string& text, const std::string& start) {
  return text.rfind(start, 0) == 0;
}

json refusal(int code, const std::string& message) {
  return {{"errorCode", code},
          {"trackingId", "a-tracking-id"},
          {"message", message},
          {"timestampUtc", "2026-11-28T12:00:00Z"}};
}

}  // namespace

Registrations::Registrations(const Options& options) : file_(option(options, "dps")) { settings(); }

json Registrations::settings() const { return json::parse(read_file(file_)); }

bool Registrations::is_user(const std::string& user_name) {
  return user_name.find("/registrations/") != std::string::npos;
}

std::string Registrations::connect(const Client& client) {
  const std::string expected = settings().at("id-scope").get<std::string>() + "/registrations/" +
                               client.id + "/api-version=2019-03-31";
  if (client.user_name != expected && !begins_with(client.user_name, expected + "&ClientVersion="))
    return "the user name " + client.user_name;
  if (client.id != client.identity)
    return "the registration id " + client.id + " is not the common name " + client.identity;
  if (client.id.empty() || client.id.size() > 128) return "the length of the registration id";
  subscribed_.erase(client.id);
  return {};
}

std::string Registrations::publish(const Publication& message) const {
  if (message.qos > 1) return "QoS 2";
  return begins_with(message.topic, kPut) || begins_with(message.topic, kGet)
             ? std::string()
             : "no topic of the provisioning service";
}

std::string Registrations::subscribe(const Client& client, const std::string& filter) {
  if (filter != kAnswers + "#") return "no topic of the provisioning service";
  subscribed_.insert(client.id);
  return {};
}

bool Registrations::receives(const std::string& topic) { return begins_with(topic, kAnswers); }

std::string Registrations::step_of(const std::string& topic) {
  return begins_with(topic, kPut) ? "dps-register" : begins_with(topic, kGet) ? "dps-poll" : "";
}

void Registrations::answer(const Client& client, const std::string& status, const json& document,
                           const Send& send) const {
  if (subscribed_.count(client.id) != 0) send(client.id, kAnswers + status, document.dump());
}

void Registrations::refuse(const Client& client, const Publication& message, int status,
                           const Send& send) {
  const std::string& topic = message.topic;
  const std::string rid = topic.substr(topic.find("$rid=") + 5);
  std::string tail = "/?$rid=" + rid.substr(0, rid.find('&'));
  if (status == kTooManyRequests) {
    const int retry_after = settings().at("retry-after");
    throttled_[client.id] = Clock::now() + std::chrono::seconds(retry_after);
    tail += "&retry-after=" + std::to_string(retry_after);
  }
  answer(client, std::to_string(status) + tail, refusal(status * 1000 + 2, "said by the test"),
         send);
}

bool Registrations::is_too_early(const Client& client) const {
  const auto throttled = throttled_.find(client.id);
  return throttled != throttled_.end() && Clock::now() < throttled->second;
}

void Registrations::published(const Client& client, const Publication& message, const Send& send) {
  if (begins_with(message.topic, kPut))
    return begin(client, message.topic.substr(kPut.size()), message.payload, send);
  if (!begins_with(message.topic, kGet)) return;
  const std::string rest = message.topic.substr(kGet.size());
  const std::string mark = "&operationId=";
  const auto at = rest.find(mark);
  poll(client, rest.substr(0, at), at == std::string::npos ? "" : rest.substr(at + mark.size()),
       send);
}

void Registrations::begin(const Client& client, const std::string& rid, const std::string& payload,
                          const Send& send) {
  const json question = json::parse(payload, nullptr, false);
  const std::string tail = "/?$rid=" + rid;
  if (is_too_early(client))
    return answer(client, "400" + tail, refusal(400006, "asked before retry-after"), send);
  if (!question.is_object() || question.value("registrationId", json()) != client.id)
    return answer(client, "400" + tail, refusal(400004, "Invalid registration id"), send);
  if (!settings().at("registrations").contains(client.id))
    return answer(client, "404" + tail, refusal(404204, "The resource was not found"), send);
  const std::string id = "4." + std::to_string(++count_) + ".operation";
  const int retry_after = settings().at("retry-after");
  operations_[client.id] = {id, settings().at("polls"),
                            Clock::now() + std::chrono::seconds(retry_after)};
  answer(client, "202" + tail + "&retry-after=" + std::to_string(retry_after),
         {{"operationId", id}, {"status", "assigning"}}, send);
}

void Registrations::poll(const Client& client, const std::string& rid,
                         const std::string& operation_id, const Send& send) {
  const std::string tail = "/?$rid=" + rid;
  const auto found = operations_.find(client.id);
  if (found == operations_.end() || found->second.id != operation_id)
    return answer(client, "404" + tail, refusal(404208, "There is no such operation"), send);
  Operation& operation = found->second;
  if (Clock::now() < operation.next)
    return answer(client, "400" + tail, refusal(400006, "asked before retry-after"), send);
  const int retry_after = settings().at("retry-after");
  operation.next = Clock::now() + std::chrono::seconds(retry_after);
  if (operation.polls-- > 0)
    return answer(client, "202" + tail + "&retry-after=" + std::to_string(retry_after),
                  {{"operationId", operation.id}, {"status", "assigning"}}, send);
  const json registration = settings().at("registrations").at(client.id);
  const std::string state = registration.value("state", "enabled");
  json document = {{"operationId", operation.id},
                   {"status", state == "enabled" ? "assigned" : state},
                   {"registrationState", {{"registrationId", client.id}}}};
  json& result = document["registrationState"];
  result["status"] = document["status"];
  if (state == "enabled") {
    result["assignedHub"] = registration.at("hub");
    result["deviceId"] = registration.at("device");
    result["substatus"] = "initialAssignment";
  } else {
    result["errorCode"] = 400209;
    result["errorMessage"] = "Custom allocation failed with status code: 401";
  }
  answer(client, "200" + tail, document, send);
}

}  // namespace hwid::stand_in
