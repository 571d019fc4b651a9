#include "tools/hwid/renewal/renewal.h"

#include <openssl/err.h>

#include <algorithm>
#include <filesystem>

#include "provider/core/error.h"
#include "tools/hwid/child_process.h"
#include "tools/hwid/default_context.h"
#include "tools/hwid/files.h"
#include "tools/hwid/renewal/audited_step.h"
#include "tools/hwid/renewal/keys.h"
#include "tools/hwid/renewal/trial.h"
#include "tools/hwid/x509/name.h"
#include "transport/certificate_text.h"

namespace hwid::tool::renewal {
namespace {

using transport::ErrorKind;
using transport::X509Ptr;
using TransportError = transport::Error;
using Generation = transport::CredentialStore::Generation;
using std::chrono::seconds;

constexpr const char* kWhat = "renew";
constexpr seconds kDay = std::chrono::hours(24);

transport::RenewAt policy_of(const transport::DeviceConfig& config) {
  return transport::parse_renew_at(config.renew_at).value_or(transport::RenewAt());
}

std::time_t seconds_of(transport::Time time) { return time.time_since_epoch().count(); }

// The first one of the file; null where it has none, or cannot be read.
X509Ptr readable_certificate_of(const Generation& generation) {
  if (generation.cert.empty()) return nullptr;
  auto chain = transport::read_certificates(generation.cert.string());
  return chain.empty() ? nullptr : std::move(chain.front());
}

// The same; null where the generation has no file. Throws where that says nothing.
X509Ptr certificate_of(const Generation& generation) {
  X509Ptr certificate = readable_certificate_of(generation);
  if (certificate || generation.cert.empty()) return certificate;
  (void)read_file(generation.cert.string());  // says why, where it cannot be read
  throw TransportError(ErrorKind::environment, kWhat, generation.cert.string(),
                       "it holds no certificate",
                       "enrol anew (hwid enroll est), or make another generation the current one");
}

bool is_same_key(const EVP_PKEY* one, const EVP_PKEY* other) {
  const bool is_same = one != nullptr && other != nullptr && EVP_PKEY_eq(one, other) == 1;
  ERR_clear_error();
  return is_same;
}

std::time_t due_time(const X509* certificate, const transport::RenewAt& policy) {
  return seconds_of(transport::renewal_time(transport::lifetime_of(certificate), policy,
                                            transport::draw_of(certificate)));
}

// Where renewals made its key; empty: somebody else made it.
std::string made_key(const State& state, unsigned number) {
  const auto found = state.made_keys.find(number);
  return found == state.made_keys.end() ? "" : found->second;
}

}  // namespace

Place place_of(const Invocation& invocation, const transport::DeviceConfig& config) {
  if (config.state_dir.empty())
    throw UsageError(config.source + " says no state-dir, where credentials are kept");
  return {config.state_dir,
          invocation.has("name") ? invocation.text("name") : transport::credential_name(config)};
}

Renewal::Renewal(Invocation& invocation, transport::DeviceConfig config, const Place& place,
                 Orders orders)
    : invocation_(invocation),
      config_(std::move(config)),
      orders_(std::move(orders)),
      store_(place.state_dir, place.name),
      issuer_(invocation_, config_, store_),
      policy_(policy_of(config_)),
      state_(read_state(store_.directory())),
      saved_(state_) {
  if (config_.est_url.empty())
    throw UsageError(config_.source + " says no est-url, where certificates are asked for");
  (void)prepare_default_context(invocation_);
}

void Renewal::save() {
  if (state_ == saved_) return;
  write_state(store_.directory(), state_);
  saved_ = state_;
}

void Renewal::describe_current(Report& report) const {
  report.name = store_.directory().filename().string();
  const auto current = store_.current();
  if (!current) return;
  report.generation = current->number;
  const X509Ptr certificate = certificate_of(*current);
  if (!certificate) return;
  report.subject = x509::name_text(X509_get_subject_name(certificate.get()));
  report.serial = transport::serial_of(certificate.get());
  report.ends = seconds_of(transport::lifetime_of(certificate.get()).ends);
  report.due = due_time(certificate.get(), policy_);
}

// With its key, where we made that. The key goes first: else nothing would name it any more.
void Renewal::drop(const Generation& generation, Report& report) {
  forget_key(generation.number, report);
  store_.remove(generation.number);
  report.removed.push_back("gen-" + std::to_string(generation.number));
}

// Another generation that has the same key, whoever began it and however it names the key.
std::optional<Generation> Renewal::heir_of(unsigned number, const std::string& uri) {
  const core::EvpPkey key = find_key(invocation_, uri);
  if (!key) return std::nullopt;
  for (const Generation& other : store_.generations()) {
    if (other.number == number) continue;
    const X509Ptr certificate = certificate_of(other);
    const core::EvpPkey its = certificate ? nullptr : find_key(invocation_, other.key.string());
    if (is_same_key(certificate ? X509_get0_pubkey(certificate.get()) : its.get(), key.get()))
      return other;
  }
  return std::nullopt;
}

// Destroys what we made for that generation, unless another one has it too: then it is that one's.
void Renewal::forget_key(unsigned number, Report& report) {
  const std::string uri = made_key(state_, number);
  if (uri.empty()) return;
  if (const auto heir = heir_of(number, uri)) {
    state_.made_keys[heir->number] = uri;
  } else {
    destroy(invocation_, uri);
    report.removed.push_back(uri);
  }
  state_.made_keys.erase(number);
  save();
}

// Keys that a run has made, or was to make, when it was killed before it began their generation.
void Renewal::remove_orphans(Report& report) {
  const auto generations = store_.generations();
  const State before = state_;
  for (const auto& [number, uri] : before.made_keys) {
    const bool is_there = std::ranges::any_of(
        generations, [n = number](const Generation& g) { return g.number == n; });
    if (!is_there) forget_key(number, report);
  }
}

// Programs that still have the old pair have some days to connect anew.
void Renewal::remove_old(const Generation& current, Report& report) {
  if (std::time(nullptr) - state_.switched < orders_.keep_old.count()) return;
  for (const Generation& generation : store_.generations())
    if (generation.number < current.number) drop(generation, report);
}

// What an earlier run has begun, if it is of use still.
std::optional<Generation> Renewal::usable_candidate() {
  auto candidate = store_.candidate();
  if (!candidate) return std::nullopt;
  if (candidate->cert.empty()) return candidate;
  const X509Ptr certificate = certificate_of(*candidate);
  if (due_time(certificate.get(), policy_) > std::time(nullptr)) return candidate;
  Report ignored;
  drop(*candidate, ignored);
  return std::nullopt;
}

Generation Renewal::begin_renewal(const Generation& current) {
  const unsigned number = store_.next_number();
  if (!orders_.new_key) {
    if (const std::string uri = made_key(state_, current.number); !uri.empty()) {
      state_.made_keys[number] = uri;
      save();
    }
    return store_.begin(read_file(current.key.string()));
  }
  const std::string name = store_.directory().filename().string();
  const std::string uri = uri_of(current.key);
  const std::string place = place_beside(core::KeyUri::parse(uri), name, number);
  if (!place.empty()) {  // said before it is made: so no crash makes it an orphan
    require_free(invocation_, place);
    state_.made_keys[number] = place + ";type=private";
    save();
  }
  return store_.begin(make_beside(invocation_, current.key, place));
}

void Renewal::note_failure(const std::string& why, seconds asked, bool pending, Report& report) {
  const std::time_t now = std::time(nullptr);
  if (!pending) ++state_.failures;
  const auto current = store_.current();
  const X509Ptr certificate = current ? readable_certificate_of(*current) : nullptr;
  const seconds left =
      certificate ? transport::lifetime_of(certificate.get()).ends - transport::Time(seconds(now))
                  : kDay;
  const double draw = certificate ? transport::draw_of(certificate.get()) : 0;
  seconds wait = transport::retry_wait(pending ? 1 : state_.failures, left, asked, draw);
  if (pending && asked.count() > 0) wait = std::min(wait, asked);  // sooner, if it says so
  state_.tried = now;
  state_.next = now + wait.count();
  state_.why = why;
  state_.pending = pending;
  save();
  report.outcome = pending ? Outcome::pending : Outcome::failed;
  report.why = why;
  report.next = state_.next;
}

bool Renewal::obtain(const Generation& generation, const Applicant& applicant, const Trust& trust,
                     Report& report) {
  const auto later = issuer_.obtain(generation, applicant, trust, state_.pending);
  if (!later) {
    state_.pending = false;
    return true;
  }
  const std::string words = later->words.empty() ? "" : ": " + later->words;
  note_failure((later->pending ? "the CA has not decided yet" : "the server is busy") + words,
               later->after, later->pending, report);
  return false;
}

// Throws where the new pair is not to be used (yet).
void Renewal::try_new(const Generation& generation, const std::optional<Generation>& current) {
  if (!current || !has_tls_endpoint(config_)) return issuer_.connect_with(generation);
  const Trial trial = try_at_endpoint(config_, generation);
  if (trial.result == Trial::Result::good) return;
  const X509Ptr old = readable_certificate_of(*current);
  const bool nothing_to_lose =
      !old || transport::validity_of(old.get()) == transport::Validity::expired;
  if (trial.result == Trial::Result::no_answer && nothing_to_lose) return;
  throw TransportError(ErrorKind::refused, kWhat, store_.directory().string(), trial.why,
                       "the old pair stays in use; the new one is tried again");
}

void Renewal::run_hooks(const Generation& current, Report& report) {
  constexpr seconds kPatience{60};
  if (state_.hooks_due != current.number) return;
  const Environment environment = {"HWID_NAME=" + store_.directory().filename().string(),
                                   "HWID_GENERATION=" + std::to_string(current.number),
                                   "HWID_CERT=" + store_.current_cert().string(),
                                   "HWID_KEY=" + store_.current_key().string()};
  for (const std::string& hook : orders_.hooks) {
    const ChildResult result = run_program({hook}, environment, kPatience);
    if (result.problem.empty()) continue;
    const std::string words = result.output.substr(0, result.output.find('\n'));
    report.hook_failed = hook + ": " + result.problem + (words.empty() ? "" : " (" + words + ")");
    return;  // the next run begins with it again
  }
  state_.hooks_due = 0;
  save();
}

// Said before it is done, so that a run that comes after a crash knows what is left to do.
void Renewal::make_current(const Generation& generation, Report& report) {
  state_.hooks_due = generation.number;
  state_.switched = std::time(nullptr);
  state_.failures = 0;
  state_.tried = state_.next = 0;
  state_.pending = false;
  state_.why.clear();
  save();
  const AuditedStep step(invocation_, store_);
  store_.make_current(generation.number);
  step.record("switch to gen-" + std::to_string(generation.number), core::audit_field::kOk);
  report.outcome = Outcome::done;
  run_hooks(*store_.current(), report);
}

Report Renewal::enroll(const std::string& key_source, Applicant applicant, const Trust& trust) {
  Report report;
  const std::string reference = reference_of(invocation_, key_source);
  auto generation = usable_candidate();
  if (generation && read_file(generation->key.string()) != reference) {
    drop(*generation, report);
    generation.reset();
    state_.pending = false;
  }
  if (!generation) {
    state_.pending = false;
    generation = store_.begin(reference);
  }
  if (!generation->cert.empty() || obtain(*generation, applicant, trust, report)) {
    generation = store_.candidate();
    issuer_.connect_with(*generation);
    make_current(*generation, report);
  }
  describe_current(report);
  return report;
}

// An ended certificate opens no door: then that of the manufacturer does, if there is one.
Applicant Renewal::applicant_like(const Generation& current) const {
  const X509Ptr certificate = certificate_of(current);
  if (!certificate)
    throw TransportError(ErrorKind::environment, kWhat, current.key.parent_path().string(),
                         "there is no cert.pem", "enrol anew: hwid enroll est");
  Applicant applicant;
  copy_identity(certificate.get(), applicant);
  const bool has_ended = transport::validity_of(certificate.get()) == transport::Validity::expired;
  if (has_ended && config_.claim_cert.empty())
    throw TransportError(
        ErrorKind::refused, kWhat, current.cert.string(),
        "the certificate has ended (" + transport::dates_of(certificate.get()) +
            "), and opens no door",
        "enrol anew: hwid enroll est; or give claim-cert and claim-key in device.conf");
  applicant.operation =
      has_ended ? transport::est::Operation::enroll : transport::est::Operation::reenroll;
  applicant.cert = has_ended ? config_.claim_cert : current.cert.string();
  applicant.key = has_ended ? config_.claim_key : current.key.string();
  return applicant;
}

void Renewal::renew_from(const Generation& current, Report& report) {
  auto generation = usable_candidate();
  if (!generation || generation->cert.empty()) {
    const Applicant applicant = applicant_like(current);
    if (!generation) {
      state_.pending = false;
      generation = begin_renewal(current);
    }
    const Trust trust{"", EstIssuer::anchors_of(current)};
    if (!obtain(*generation, applicant, trust, report)) return;
    generation = store_.candidate();
  }
  try_new(*generation, current);
  make_current(*generation, report);
}

// A first enrolment that the CA has not decided on, or that was interrupted behind its answer.
void Renewal::go_on(Report& report) {
  const auto generation = store_.candidate();
  const std::string request = generation ? EstIssuer::request_of(*generation) : "";
  if (!generation || (generation->cert.empty() && (request.empty() || config_.claim_cert.empty())))
    throw TransportError(ErrorKind::usage, kWhat, store_.directory().string(),
                         "there is no certificate to renew", "enrol first: hwid enroll est");
  if (generation->cert.empty()) {
    Applicant applicant;
    copy_identity(request, applicant);
    applicant.cert = config_.claim_cert;
    applicant.key = config_.claim_key;
    if (!obtain(*generation, applicant, {"", EstIssuer::anchors_of(*generation)}, report)) return;
  }
  const Generation whole = *store_.candidate();
  issuer_.connect_with(whole);
  make_current(whole, report);
}

Report Renewal::renew() {
  Report report;
  const auto current = store_.current();
  if (current && !orders_.dry_run) {
    run_hooks(*current, report);
    remove_orphans(report);
    remove_old(*current, report);
  }
  describe_current(report);
  const std::time_t now = std::time(nullptr);
  const bool has_begun = store_.candidate().has_value();
  // A clock that was ahead must not stop renewals for long.
  const bool is_early = now < state_.next && state_.next - now <= 2 * kDay.count();
  if (current && !has_begun && !orders_.now && now < report.due) {
    report.outcome = Outcome::not_due;
    return report;
  }
  if (!orders_.now && is_early) {
    report.outcome = state_.pending ? Outcome::pending : Outcome::waiting;
    report.why = state_.why;
    report.next = state_.next;
    return report;
  }
  if (orders_.dry_run) {
    report.outcome = Outcome::due;
    return report;
  }
  try {
    if (current)
      renew_from(*current, report);
    else
      go_on(report);
  } catch (const TransportError& error) {
    if (error.kind() == ErrorKind::usage) throw;
    note_failure(error.what(), seconds(0), false, report);
  } catch (const core::Error& error) {
    note_failure(error.what(), seconds(0), false, report);
  }
  describe_current(report);
  return report;
}

}  // namespace hwid::tool::renewal
