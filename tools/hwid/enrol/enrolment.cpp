#include "tools/hwid/enrol/enrolment.h"

#include <hwid/transport_error.h>
#include <openssl/err.h>

#include <algorithm>

#include "provider/core/error.h"
#include "tools/hwid/audit/record.h"
#include "tools/hwid/default_context.h"
#include "tools/hwid/enrol/proof.h"
#include "tools/hwid/facts.h"
#include "tools/hwid/files.h"
#include "tools/hwid/renewal/deactivation.h"
#include "tools/hwid/renewal/state.h"
#include "tools/hwid/x509/encoding.h"
#include "tools/hwid/x509/signing.h"
#include "transport/certificate_text.h"
#include "transport/config_for_cloud.h"
#include "transport/endpoint.h"

namespace hwid::tool::enrol {
namespace {

using transport::CredentialStore;
using transport::DeviceConfig;
using transport::ErrorKind;
using transport::Learned;

constexpr std::uint32_t kUsualTimeout = 60;
constexpr std::uint32_t kMostTimeout = 3600;
constexpr std::chrono::milliseconds kLeastAnswer{1000};

std::string word_of(const transport::Error& error) {
  if (error.pending()) return "pending";
  switch (error.kind()) {
    case ErrorKind::refused:
      return "refused";
    case ErrorKind::timeout:
      return "timeout";
    case ErrorKind::closed:
      return "connection lost";
    default:
      return "failed";
  }
}

std::string device_conf_of(const Invocation& invocation) {
  if (!invocation.has("config")) throw UsageError("--config: a device.conf is needed");
  return invocation.text("config");
}

bool has_ended(const X509* certificate) {
  return transport::validity_of(certificate) == transport::Validity::expired;
}

bool has_ended(const CredentialStore::Generation& generation) {
  const auto chain = transport::read_certificates(generation.cert.string());
  return !chain.empty() && has_ended(chain.front().get());
}

}  // namespace

void add_config_options(po::options_description& options) {
  auto add = options.add_options();
  add("config", po::value<std::string>()->value_name("FILE"), "the device.conf; it is not changed");
  add("timeout", po::value<std::uint32_t>()->value_name("SECONDS"),
      "how long it is tried again where the other side does not answer (default: 60)");
}

void add_enrolment_options(po::options_description& options) {
  add_config_options(options);
  auto add = options.add_options();
  add("key", po::value<std::string>()->value_name("URI"), "the key, instead of device.conf's");
  add("name", po::value<std::string>()->value_name("NAME"),
      "the directory below state-dir (default: NAME of key = hwid://NAME, else device)");
}

DeviceConfig read_device_conf(const Invocation& invocation) {
  return DeviceConfig::read(device_conf_of(invocation));
}

DeviceConfig read_device_conf(const Invocation& invocation, transport::Profile profile) {
  return transport::read_config_for(device_conf_of(invocation), profile);
}

std::string state_dir_of(const DeviceConfig& config) {
  if (!config.state_dir.empty()) return config.state_dir;
  throw transport::Error(ErrorKind::environment, "read configuration", config.source,
                         "state-dir is not given, where the certificate would be kept",
                         "write state-dir = /var/lib/hwid");
}

std::string key_of(const Invocation& invocation, const DeviceConfig& config) {
  std::string source = invocation.has("key") ? invocation.text("key") : config.key;
  if (!source.empty()) return source;
  throw transport::Error(ErrorKind::environment, "read configuration", config.source,
                         "key is not given, and neither is --key", "write key = hwid://device");
}

transport::cloud::Patience patience_of(const Invocation& invocation) {
  const auto seconds = invocation.value<std::uint32_t>("timeout").value_or(kUsualTimeout);
  if (seconds == 0 || seconds > kMostTimeout)
    throw UsageError("--timeout: 1 to " + std::to_string(kMostTimeout) + " seconds");
  transport::cloud::Patience patience;
  patience.total = std::chrono::seconds(seconds);
  patience.answer =
      std::clamp<std::chrono::milliseconds>(patience.total / 4, kLeastAnswer, patience.answer);
  patience.tell = [](const std::string& text) { Output::note(text); };
  return patience;
}

AuditedEnrolment::AuditedEnrolment(Invocation& invocation, std::string backend,
                                   const std::string& other_side, std::string device)
    : sink_(invocation.audit()),
      backend_(std::move(backend)),
      other_side_(transport::printable_endpoint(other_side)),
      device_(std::move(device)) {}

void AuditedEnrolment::record(const std::string& result, std::chrono::microseconds duration) const {
  if (sink_ == nullptr) return;
  core::AuditEvent event;
  event.operation = audit::kEnrol;
  event.backend = backend_;
  event.token = other_side_;
  event.object = device_;
  event.result = result;
  event.duration = duration;
  sink_->record(event);
}

void AuditedEnrolment::run(const std::function<void()>& body) const {
  const auto begin = std::chrono::steady_clock::now();
  const auto done = [&](const std::string& result) {
    record(result, std::chrono::duration_cast<std::chrono::microseconds>(
                       std::chrono::steady_clock::now() - begin));
  };
  try {
    body();
  } catch (const transport::Error& error) {
    done(word_of(error) +
         (error.status() != 0 ? " " + std::to_string(error.status()) : std::string()));
    throw;
  } catch (const core::Error& error) {
    done(std::string(core::audit_result(error)));
    throw;
  } catch (...) {
    done("failed");
    throw;
  }
  done(std::string(core::audit_field::kOk));
}

Enrolment::Enrolment(Invocation& invocation, DeviceConfig config)
    : invocation_(invocation),
      config_(std::move(config)),
      name_(invocation.has("name") ? invocation.text("name") : transport::credential_name(config_)),
      key_(open_device_key(invocation, key_of(invocation, config_))),
      store_(state_dir_of(config_), name_) {
  (void)prepare_default_context(invocation);
}

DeviceConfig Enrolment::trial(unsigned generation) const {
  DeviceConfig config = config_;
  for (const auto& each : store_.generations())
    if (each.number == generation) config = with_pair(config, each);
  for (const auto& [key, value] : store_.learned_with(generation)) config.set(key, value);
  return config;
}

bool Enrolment::has_our_key(const CredentialStore::Generation& generation) const {
  return read_file(generation.key.string()) == key_.reference;
}

bool Enrolment::is_in_service() const {
  const auto current = store_.current();
  if (!current || current->cert.empty()) return false;
  const auto chain = transport::read_certificates(current->cert.string());
  if (chain.empty()) return false;
  const X509* const certificate = chain.front().get();
  const bool is_ours = EVP_PKEY_eq(X509_get0_pubkey(certificate), key_.key.get()) == 1;
  ERR_clear_error();
  return is_ours && !has_ended(certificate);
}

// What is learned is kept last: without it the other side had not said all.
bool Enrolment::is_whole(const Generation& generation) const {
  return !generation.cert.empty() && !store_.learned_with(generation.number).empty();
}

bool Enrolment::finish_interrupted(const transport::cloud::Patience& patience) {
  const auto candidate = our_candidate();
  if (!candidate || !is_whole(*candidate)) return false;
  if (has_ended(*candidate)) {  // it opens no door any more
    given_up_ = candidate->number;
    return false;
  }
  prove_new_certificate(trial(candidate->number), patience);
  use(candidate->number);
  return true;
}

std::optional<std::filesystem::path> Enrolment::give_up_interrupted() {
  const auto candidate = our_candidate();
  if (!candidate || !is_whole(*candidate)) return std::nullopt;
  given_up_ = candidate->number;
  return candidate->key.parent_path();
}

// What was given up is whole: in its place the next run would take what it says for the new one's.
std::optional<Enrolment::Generation> Enrolment::our_candidate() const {
  auto candidate = store_.candidate();
  if (!candidate || candidate->number == given_up_ || !has_our_key(*candidate)) return std::nullopt;
  return candidate;
}

std::optional<std::filesystem::path> Enrolment::begun() const {
  const auto ours = our_candidate();
  return ours ? std::optional(ours->key.parent_path()) : std::nullopt;
}

std::filesystem::path Enrolment::begin() {
  const auto candidate = our_candidate();
  const auto ours = candidate ? *candidate : store_.begin(key_.reference);
  generation_ = ours.number;
  return ours.key.parent_path();
}

void Enrolment::keep(const std::string& certificate) {
  if (generation_ == 0) (void)begin();
  store_.keep_certificate(generation_, certificate);
}

void Enrolment::keep(const Learned& learned) { store_.keep_learned(generation_, learned); }

void Enrolment::prove_and_use(const transport::cloud::Patience& patience) {
  prove_new_certificate(trial(generation_), patience);
  use(generation_);
}

// Renewals go on from here: their hooks are to run, and tries of theirs that failed are over.
void Enrolment::use(unsigned generation) {
  const std::filesystem::path& directory = store_.directory();
  if (store_.current() || renewal::has_state(directory)) {
    renewal::State state = renewal::take_state(directory);
    const auto all = store_.generations();
    renewal::note_use(state, *std::ranges::find(all, generation, &Generation::number));
    renewal::write_state(directory, state);
  }
  store_.make_current(generation);
}

Facts Enrolment::facts() const {
  const auto current = store_.current();
  if (!current) return {};
  const std::string file = current->cert.string();
  const auto chain = x509::parse_certificates(read_file(file), file, invocation_.crypto());
  const std::string der = x509::der(chain.front().get());
  const auto facts = certificate_facts(invocation_.software(), core::as_bytes(der));
  Facts all = {{"name", name_},
               {"generation", current->number},
               {"certificate", store_.current_cert().string()},
               {"key", store_.current_key().string()}};
  if (facts) {
    all.emplace_back("subject", facts->subject);
    all.emplace_back("issuer", facts->issuer);
    all.emplace_back("serial", facts->serial);
    all.emplace_back("ends", x509::time_text(X509_get0_notAfter(chain.front().get())));
  }
  return all;
}

}  // namespace hwid::tool::enrol
