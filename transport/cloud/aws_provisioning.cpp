#include "transport/cloud/aws_provisioning.h"

#include <openssl/pem.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "transport/cloud/names.h"
#include "transport/cloud/rules.h"
#include "transport/foreign_json.h"
#include "transport/openssl_handles.h"
#include "transport/random_name.h"
#include "transport/scheme_options.h"

namespace hwid::transport::aws {

namespace {

using nlohmann::json;

constexpr const char* kWhat = "provision";
constexpr std::size_t kMaxTemplateName = 36;
constexpr std::size_t kMaxThingName = 128;
constexpr std::size_t kMaxToken = 16 * 1024UL;
constexpr std::size_t kMaxPem = 64 * 1024UL;
constexpr std::size_t kMaxId = 256;
constexpr std::time_t kTokenLife = 3600;  // seconds; "CreateCertificateFromCsr"
constexpr const char* kPolicyAdvice =
    "see that the policy of the claim certificate allows it: `hwid aws policy --claim` writes one";

using RequestPtr = std::unique_ptr<X509_REQ, OpensslDelete<X509_REQ_free>>;

[[noreturn]] void refuse(const std::string& where, const std::string& why,
                         const std::string& next_step = {}) {
  throw Error(ErrorKind::refused, kWhat, where, why, next_step);
}

json object_in(const std::string& where, const std::string& text) {
  auto document = parse_foreign_json(text);
  if (!document.is_object()) refuse(where, "the answer is no JSON object: " + cloud::shown(text));
  return document;
}

// A member that must be a text of 1 to `most` bytes.
std::string text_in(const std::string& where, const json& document, const char* name,
                    std::size_t most) {
  const auto value = document.find(name);
  if (value == document.end() || !value->is_string() ||
      value->get_ref<const std::string&>().empty())
    refuse(where, std::string("the answer has no text ") + name);
  const auto& text = value->get_ref<const std::string&>();
  if (text.size() > most)
    refuse(where, std::string("the answer's ") + name + " has more than " + std::to_string(most) +
                      " bytes");
  return text;
}

Issued issued_in(const std::string& where, const json& document) {
  Issued issued;
  issued.certificate_id = text_in(where, document, "certificateId", kMaxId);
  issued.certificate_pem = text_in(where, document, "certificatePem", kMaxPem);
  if (!cloud::is_name(issued.certificate_id, kMaxId, ""))
    refuse(where, "the answer's certificateId is none: " + cloud::shown(issued.certificate_id));
  return issued;
}

json parameters_of(const DeviceConfig& config) {
  if (config.template_parameters.empty()) return json::object();
  auto parameters = json::parse(config.template_parameters, nullptr, false);
  const bool good =
      parameters.is_object() && std::all_of(parameters.begin(), parameters.end(),
                                            [](const json& value) { return value.is_string(); });
  if (!good)
    refuse_option(config, "template-parameters", "it is no JSON object of texts",
                  R"(write it as {"SerialNumber":"7"})");
  return parameters;
}

DeviceConfig claim_config(const DeviceConfig& config) {
  DeviceConfig claim = config;
  claim.profile = Profile::aws;
  claim.client_id = kClaimClient + random_name();
  claim.cert = config.claim_cert;
  claim.key = config.claim_key;
  return claim;
}

// What a no of the service means at each step.
const char* advice_for(const std::string& step, int status) {
  if (status == 429 || status >= 500) return "try again later";
  const bool is_register = step == "RegisterThing";
  if (status == 400)
    return is_register ? "compare template-parameters with the template's parameters"
                       : "AWS takes RSA keys from 2048 bits on, and EC P-256, P-384 and P-521";
  if (!is_register) return kPolicyAdvice;
  return status == 404 ? "correct template-name"
                       : "see the template: its provisioning role, its pre-provisioning hook, and "
                         "whether it is enabled";
}

bool is_about_token(const Error& error) {
  return error.kind() == ErrorKind::refused &&
         std::string_view(error.what()).find("InvalidCertificateOwnershipToken") !=
             std::string_view::npos;
}

// Silence, a lost connection and a subscription that is not granted have no status: AWS says no
// more to a client whose policy does not allow what it does.
Error explained(const Error& error, const char* step) {
  return {error.kind(),
          step,
          "",
          error.what(),
          error.status() == 0     ? kPolicyAdvice
          : is_about_token(error) ? "run it again: another certificate is asked for"
                                  : advice_for(step, error.status()),
          error.status(),
          error.retry_after()};
}

Message ask(cloud::Questions& questions, const char* step, const std::string& topic,
            const json& question, const cloud::Patience& patience) {
  try {
    return questions.ask({topic, question.dump()}, patience.answer);
  } catch (const Error& error) {
    throw explained(error, step);
  }
}

Registration register_thing(cloud::Questions& questions, const DeviceConfig& config,
                            const Unregistered& made, const cloud::Patience& patience) {
  const std::string topic = provision_topic(config.template_name);
  const json question = {{"certificateOwnershipToken", made.token.reveal()},
                         {"parameters", parameters_of(config)}};
  const Message answer = ask(questions, "RegisterThing", topic, question, patience);
  const json document = object_in(answer.topic, answer.payload);
  Registration registration{made.issued,
                            text_in(answer.topic, document, "thingName", kMaxThingName), ""};
  if (!cloud::is_name(registration.thing_name, kMaxThingName, ":_-"))
    refuse(answer.topic,
           "the answer's thingName is none: " + cloud::shown(registration.thing_name));
  if (const auto value = document.find("deviceConfiguration");
      value != document.end() && !value->empty())
    registration.device_configuration = value->dump();
  return registration;
}

// Once more where no answer came: another connection takes longer.
Registration register_patiently(cloud::Questions& questions, const DeviceConfig& config,
                                const Unregistered& made, const cloud::Patience& patience) {
  try {
    return register_thing(questions, config, made, patience);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::timeout) throw;
    return register_thing(questions, config, made, patience);
  }
}

PkeyPtr key_of_request(const std::string& csr) {
  const BioPtr in(BIO_new_mem_buf(csr.data(), static_cast<int>(csr.size())));
  const RequestPtr request(PEM_read_bio_X509_REQ(in.get(), nullptr, nullptr, nullptr));
  return PkeyPtr(request ? X509_REQ_get_pubkey(request.get()) : nullptr);
}

}  // namespace

std::string provision_topic(const std::string& template_name) {
  return "$aws/provisioning-templates/" + template_name + "/provision/json";
}

void check_template_name(const DeviceConfig& config) {
  if (!cloud::is_name(config.template_name, kMaxTemplateName, "_-"))
    refuse_option(config, "template-name", "the name of a template has 1 to 36 of a-z A-Z 0-9 _ -",
                  "correct it");
}

void check_issued_for(const Issued& issued, const std::string& csr) {
  const std::string where = "certificate " + issued.certificate_id;
  const auto& pem = issued.certificate_pem;
  const BioPtr in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const X509Ptr certificate(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
  const PkeyPtr key = key_of_request(csr);
  const PkeyPtr certified(certificate ? X509_get_pubkey(certificate.get()) : nullptr);
  const bool fits = key && certified && EVP_PKEY_eq(key.get(), certified.get()) == 1;
  (void)take_openssl_errors();
  if (!certificate) refuse(where, "what came is no PEM certificate: " + cloud::shown(pem));
  if (!fits)
    refuse(where, "it was made for another key than the device's",
           "ask for a certificate by a request (CSR) of this key");
}

namespace {

Unregistered create(cloud::Questions& questions, const std::string& csr, const Keep& keep,
                    const cloud::Patience& patience) {
  const Message answer = ask(questions, "CreateCertificateFromCsr", kCreateTopic,
                             {{"certificateSigningRequest", csr}}, patience);
  const json document = object_in(answer.topic, answer.payload);
  Unregistered made{issued_in(answer.topic, document), {}, std::time(nullptr) + kTokenLife};
  const std::string token = text_in(answer.topic, document, "certificateOwnershipToken", kMaxToken);
  made.token = SecretText(token.data(), token.size());
  check_issued_for(made.issued, csr);
  keep(made);
  return made;
}

}  // namespace

Issued parse_issued(const std::string& file, const std::string& text) {
  const json document = object_in(file, text);
  Issued issued = issued_in(file, document);
  if (document.contains("certificateArn"))
    issued.certificate_arn = text_in(file, document, "certificateArn", kMaxId);
  return issued;
}

void check_provisioning(const DeviceConfig& config) {
  if (config.endpoint.rfind("mqtts://", 0) != 0)
    refuse_option(config, "endpoint", "fleet provisioning is spoken over MQTT",
                  "write mqtts:// and the host that `aws iot describe-endpoint --endpoint-type "
                  "iot:Data-ATS` gives");
  const std::pair<const char*, const std::string*> needed[] = {
      {"claim-cert", &config.claim_cert},
      {"claim-key", &config.claim_key},
      {"template-name", &config.template_name}};
  for (const auto& [name, value] : needed)
    if (value->empty())
      refuse_option(config, name, "fleet provisioning needs it, and it is not given",
                    "write it into device.conf");
  check_template_name(config);
  parameters_of(config);
}

Registration provision(const DeviceConfig& config, const std::string& csr,
                       std::optional<Unregistered> begun, const Keep& keep,
                       const cloud::Patience& patience) {
  check_provisioning(config);
  const DeviceConfig claim = claim_config(config);
  Registration registration;
  cloud::persist(patience, [&] {
    cloud::Questions questions(claim);
    if (begun && begun->ends <= std::time(nullptr)) begun.reset();
    const bool is_of_before = begun.has_value();
    if (!is_of_before) begun = create(questions, csr, keep, patience);
    try {
      registration = register_patiently(questions, config, *begun, patience);
    } catch (const Error& error) {
      if (!is_of_before || !is_about_token(error)) throw;
      patience.tell("certificate " + begun->issued.certificate_id +
                    ": AWS does not take its ownership token any more (" + error.what() +
                    "); another certificate is asked for. Where this one is in force, nothing "
                    "uses it: deactivate it");
      begun = create(questions, csr, keep, patience);
      registration = register_patiently(questions, config, *begun, patience);
    }
  });
  return registration;
}

}  // namespace hwid::transport::aws
