#include "transport/cloud/azure_provisioning.h"

#include <strings.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <thread>

#include "transport/certificate_text.h"
#include "transport/cloud/azure_topics.h"
#include "transport/cloud/rules.h"
#include "transport/cloud/url_encoding.h"
#include "transport/credentials.h"
#include "transport/foreign_json.h"
#include "transport/openssl_handles.h"
#include "transport/scheme_options.h"

namespace hwid::transport::azure {

namespace {

using nlohmann::json;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr const char* kWhat = "provision";
constexpr const char* kGlobalEndpoint = "mqtts://global.azure-devices-provisioning.net";
constexpr const char* kRegister = "$dps/registrations/PUT/iotdps-register/?$rid=";
constexpr const char* kPoll =
    "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=&operationId=";
constexpr int kAccepted = 202;          // as HTTP has it
constexpr seconds kUsualRetryAfter{2};  // as the service's own libraries have it
constexpr seconds kLeastRetryAfter{1};  // a server that says 0 is not asked without a pause
constexpr seconds kLongestRetryAfter{300};
constexpr std::size_t kMaxRegistrationId = 128;
constexpr std::size_t kMaxScope = 64;
constexpr std::size_t kMaxHub = 253;
constexpr std::size_t kMaxOperationId = 256;
constexpr std::size_t kMaxDeviceId = 128;

[[noreturn]] void refuse(const std::string& where, const std::string& why,
                         const std::string& next_step = {}, int status = 0) {
  throw Error(ErrorKind::refused, kWhat, where, why, next_step, status);
}

template <typename Allowed>
bool is_made_of(const std::string& text, std::size_t most, Allowed allowed) {
  return !text.empty() && text.size() <= most &&
         std::all_of(text.begin(), text.end(),
                     [&](unsigned char c) { return c < 128 && allowed(c); });
}

bool is_host(const std::string& text) {
  return text.front() != '-' && text.front() != '.' && is_made_of(text, kMaxHub, [](int c) {
           return std::isalnum(c) != 0 || c == '-' || c == '.';
         });
}

// Names of people's choice, as device ids have them; never what breaks a line or a topic.
bool is_device_id(const std::string& text) {
  return is_made_of(text, kMaxDeviceId, [](int c) {
    return std::isalnum(c) != 0 ||
           std::string("-:._%*?!(),=@$'").find(static_cast<char>(c)) != std::string::npos;
  });
}

// The service knows no difference between capital and small letters in registration ids.
bool is_same_id(const std::string& one, const std::string& other) {
  return one.size() == other.size() && ::strncasecmp(one.data(), other.data(), one.size()) == 0;
}

// "X.509 certificate attestation": 1 to 128 of a-z A-Z 0-9 - . _ :, with a letter or digit at the
// end.
bool is_registration_id(const std::string& text) {
  return is_made_of(text, kMaxRegistrationId,
                    [](int c) {
                      return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_' || c == ':';
                    }) &&
         std::isalnum(static_cast<unsigned char>(text.back())) != 0;
}

std::string common_name_of(const DeviceConfig& config) {
  const X509Ptr certificate = load_certificate(config);
  return name_part(X509_get_subject_name(certificate.get()), NID_commonName);
}

json object_in(const Message& answer) {
  auto document = parse_foreign_json(answer.payload);
  if (!document.is_object())
    refuse(answer.topic, "the answer is no JSON object: " + cloud::shown(answer.payload));
  return document;
}

// Empty where it is not there or something else.
std::string text_of(const json& document, const char* name) {
  const auto value = document.find(name);
  return value != document.end() && value->is_string() ? value->get<std::string>() : "";
}

// What the service says to somebody who must wait.
struct Operation {
  std::string id;
  seconds retry_after = kUsualRetryAfter;
};

Operation operation_in(const Message& answer, const json& document) {
  Operation operation{text_of(document, "operationId")};
  const bool good = is_made_of(operation.id, kMaxOperationId,
                               [](int c) { return std::isgraph(c) != 0 && c != '&' && c != '/'; });
  if (!good) refuse(answer.topic, "the answer has no operationId that can be asked for");
  if (const auto wanted = retry_after_of(answer.topic))
    operation.retry_after = std::clamp(*wanted, kLeastRetryAfter, kLongestRetryAfter);
  return operation;
}

Assignment assignment_in(const Message& answer, const json& document, const Registrant& who) {
  const json state = document.value("registrationState", json::object());
  if (!state.is_object()) refuse(answer.topic, "the answer has no registrationState");
  Assignment assignment{text_of(state, "assignedHub"), text_of(state, "deviceId"),
                        cloud::shown(text_of(state, "substatus"))};
  if (assignment.hub.empty() || !is_host(assignment.hub))
    refuse(answer.topic, "the assignedHub is no host name: " + cloud::shown(assignment.hub));
  if (!is_device_id(assignment.device_id))
    refuse(answer.topic, "the deviceId is none: " + cloud::shown(assignment.device_id));
  const std::string named = text_of(state, "registrationId");
  if (!named.empty() && !is_same_id(named, who.registration_id))
    refuse(answer.topic, "the answer is about another registration: " + cloud::shown(named));
  return assignment;
}

// The reason of an assignment that will not be.
std::string reason_in(const json& document) {
  const json state = document.value("registrationState", json::object());
  std::string reason;
  for (const json* const place : {&state, &document}) {
    if (!place->is_object()) continue;
    for (const char* name : {"errorCode", "errorMessage"})
      if (const auto value = place->find(name); value != place->end() && !value->is_null())
        reason += (reason.empty() ? "" : ", ") +
                  (value->is_string() ? value->get<std::string>() : value->dump());
  }
  return reason.empty() ? "without a reason" : cloud::shown(reason);
}

// "HTTP status codes" of the service, and what they mean for a device.
std::string advice_for(int status, seconds retry_after) {
  if (retry_after.count() > 0) return "try again in " + std::to_string(retry_after.count()) + " s";
  switch (status) {
    case 400:
      return "check id-scope and registration-id";
    case 401:
      return "check id-scope, and that the enrolment in DPS is for this certificate, or for the CA "
             "that signed it, whose possession was proved there";
    case 403:
    case 409:
      return "see whether the enrolment is enabled";
    case 404:
      return "no enrolment fits: make one in DPS, and check id-scope and registration-id";
    default:
      return status == 429 || status >= 500 ? "try again later"
                                            : "see the enrolment in DPS and its linked hubs";
  }
}

class Registering {
 public:
  Registering(const DeviceConfig& config, const Registrant& who, const cloud::Patience& patience,
              Clock::time_point end)
      : who_(who), patience_(patience), end_(end), questions_(config) {}

  Assignment run(const std::string& payload) {
    json question = {{"registrationId", who_.registration_id}};
    if (!payload.empty()) question["payload"] = json::parse(payload);
    Message answer = ask({kRegister, question.dump()});
    for (;;) {
      const json document = object_in(answer);
      const std::string status = text_of(document, "status");
      if (status == "assigned") return assignment_in(answer, document, who_);
      if (status == "failed" || status == "disabled")
        refuse(who_.endpoint + ", registration " + who_.registration_id,
               "the assignment is " + status + ": " + reason_in(document),
               "see the enrolment in DPS: its state, its linked hubs, its allocation");
      if (status != "assigning" && status != "unassigned")
        refuse(answer.topic, "the answer has no status that is known: " + cloud::shown(status));
      const Operation operation = operation_in(answer, document);
      wait(operation.retry_after);
      answer = ask({kPoll + cloud::url_encode(operation.id), ""});
    }
  }

 private:
  Message ask(const Message& question) {
    try {
      return questions_.ask(question, patience_.answer);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::refused) throw;
      throw Error(error.kind(), "register " + who_.registration_id, who_.endpoint, error.what(),
                  advice_for(error.status(), error.retry_after()), error.status(),
                  error.retry_after());
    }
  }

  void wait(seconds time) const {
    if (Clock::now() + time >= end_)
      throw Error(ErrorKind::environment, "register " + who_.registration_id, who_.endpoint,
                  "the service has not assigned a hub in time",
                  "run it again, or give it more time with --timeout", kAccepted);
    std::this_thread::sleep_for(time);
  }

  const Registrant& who_;
  const cloud::Patience& patience_;
  const Clock::time_point end_;
  cloud::Questions questions_;
};

}  // namespace

Registrant registrant_of(const DeviceConfig& config) {
  Registrant who{config.dps_endpoint.empty() ? kGlobalEndpoint : config.dps_endpoint,
                 config.id_scope, config.registration_id};
  DeviceConfig service = config;  // for messages: the endpoint of the hub is not known yet
  service.endpoint = who.endpoint;
  if (!is_made_of(who.id_scope, kMaxScope, [](int c) { return std::isalnum(c) != 0; }))
    refuse_option(service, "id-scope",
                  "the provisioning service is known by it, and it is "
                  "not given, or has other characters than letters and digits",
                  "copy it from the overview of your DPS");
  if (config.cert.empty())
    refuse_option(service, "cert", "the provisioning service knows a device by its certificate",
                  "give cert and key");
  const std::string common_name = common_name_of(service);
  if (who.registration_id.empty()) who.registration_id = common_name;
  if (!is_registration_id(who.registration_id))
    refuse_option(service, "registration-id",
                  "it has 1 to 128 of a-z A-Z 0-9 - . _ : with a letter or digit at the end",
                  "correct it");
  if (!is_same_id(who.registration_id, common_name))
    refuse_option(
        service, "registration-id",
        "the certificate's common name is " + cloud::shown(common_name) +
            ", and the provisioning service wants them to be the same",
        "leave registration-id out, or take a certificate with CN=" + who.registration_id);
  return who;
}

Assignment register_device(const DeviceConfig& config, const std::string& payload,
                           const cloud::Patience& patience) {
  const Registrant who = registrant_of(config);
  DeviceConfig service = config;
  service.profile = Profile::azure_dps;
  service.endpoint = who.endpoint;
  service.registration_id = who.registration_id;
  service.client_id = who.registration_id;
  service.model_id.clear();
  const auto end = Clock::now() + patience.total;
  Assignment assignment;
  cloud::persist(patience,
                 [&] { assignment = Registering(service, who, patience, end).run(payload); });
  return assignment;
}

}  // namespace hwid::transport::azure
