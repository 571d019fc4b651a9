#include "tools/hwid/renewal/renewal.h"

#include <openssl/err.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "provider/core/error.h"
#include "tools/hwid/default_context.h"
#include "tools/hwid/enrol/enrolment.h"
#include "tools/hwid/files.h"
#include "tools/hwid/provision/registration.h"
#include "tools/hwid/renewal/audited_step.h"
#include "tools/hwid/renewal/deactivation.h"
#include "tools/hwid/renewal/hooks.h"
#include "tools/hwid/renewal/keys.h"
#include "tools/hwid/renewal/schedule.h"
#include "tools/hwid/renewal/superseded.h"
#include "tools/hwid/x509/name.h"
#include "transport/certificate_text.h"
#include "transport/utc_time.h"

namespace hwid::tool::renewal {
namespace {

using transport::ErrorKind;
using transport::X509Ptr;
using TransportError = transport::Error;
using std::chrono::seconds;

constexpr seconds kDay = std::chrono::hours(24);
constexpr double kSpread = 0.1;        // of what the server asks to wait
constexpr unsigned kNoGeneration = 0;  // of keys that wait to be destroyed
constexpr unsigned kMostRefusals = 3;  // then another certificate may be liked better

// When `current` was made, whoever made it: not all who switch write our state.
std::time_t time_of_link(const transport::CredentialStore& store) {
  struct stat link {};
  return ::lstat((store.directory() / "current").c_str(), &link) == 0 ? link.st_mtime : 0;
}

std::string name_of(const Generation& generation) {
  return "gen-" + std::to_string(generation.number);
}

bool has_ended(const X509Ptr& certificate) {
  return transport::validity_of(certificate.get()) == transport::Validity::expired;
}

// What was issued is what is asked for now. Where nothing was, the request tells.
bool is_for(const Generation& generation, const Applicant& applicant) {
  const X509Ptr certificate = certificate_of(generation);
  if (!certificate) return true;
  Applicant before;
  copy_identity(certificate.get(), before);
  return is_same_identity(before, applicant);
}

Trust learned_trust(const Generation& generation) {
  const std::string anchors = EstIssuer::anchors_of(generation);
  return {"", anchors, !anchors.empty()};
}

// Who has that pair renews it.
void show(Applicant& applicant, const Generation& generation) {
  applicant.operation = transport::est::Operation::reenroll;
  applicant.cert = generation.cert.string();
  applicant.key = generation.key.string();
}

bool is_same_key(const EVP_PKEY* one, const EVP_PKEY* other) {
  const bool is_same = one != nullptr && other != nullptr && EVP_PKEY_eq(one, other) == 1;
  ERR_clear_error();
  return is_same;
}

// Where renewals made its key; empty: somebody else made it.
std::string made_key(const State& state, unsigned number) {
  const auto found = state.made_keys.find(number);
  return found == state.made_keys.end() ? "" : found->second;
}

// `action` removes something that is in the way of nothing.
template <typename Action>
void if_possible(Action action) {
  Report ignored;
  try {
    action(ignored);
  } catch (const core::Error& error) {
    Output::note(error.what());
  } catch (const TransportError& error) {
    Output::note(error.what());
  }
}

}  // namespace

Renewal::Renewal(Invocation& invocation, transport::DeviceConfig config, const Place& place,
                 Orders orders)
    : invocation_(invocation),
      config_(std::move(config)),
      place_(place),
      orders_(std::move(orders)),
      store_(place.state_dir, place.name),
      by_aws_(AwsIssuer::is_meant(config_)),
      issuer_(invocation_, config_, store_),
      aws_issuer_(invocation_, config_, store_),
      policy_(policy_of(config_)),
      state_(take_state(store_.directory())),
      saved_(state_) {
  (void)prepare_default_context(invocation_);
}

void Renewal::save() {
  if (state_ == saved_) return;
  write_state(store_.directory(), state_);
  saved_ = state_;
}

void Renewal::describe_current(Report& report) const {
  report.name = place_.name;
  describe(store_.current(), policy_, report);
}

void Renewal::give_up(const std::string& certificate_id) {
  note_to_deactivate(state_, certificate_id);
  save();
}

// With its key, where we made that. The key goes first: else nothing would name it any more; and
// before it what AWS has for it.
void Renewal::drop(const Generation& generation, Report& report) {
  const AuditedStep step(invocation_, store_, backend());
  std::string what = "remove " + name_of(generation);
  const std::filesystem::path directory = generation.key.parent_path();
  for (const std::string& id : provision::certificate_ids_only_in(directory, store_)) {
    give_up(id);
    what += ", certificate " + id;
  }
  forget_key(generation.number, report);
  store_.remove(generation.number);
  report.removed.push_back(name_of(generation));
  step.record(what, core::audit_field::kOk);
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

// What stays, because a token refuses to destroy its key, goes with the old ones.
void Renewal::drop_if_possible(const Generation& generation) {
  if_possible([&](Report& ignored) { drop(generation, ignored); });
}

// Destroys what we made for that generation, unless another one has it too: then it is that one's.
void Renewal::forget_key(unsigned number, Report& report) {
  const std::string uri = made_key(state_, number);
  if (uri.empty()) return;
  if (const auto heir = heir_of(number, uri)) {
    state_.made_keys[heir->number] = uri;
  } else {
    const AuditedStep step(invocation_, store_, backend());
    destroy(invocation_, uri);
    report.removed.push_back(uri);
    step.record("destroy " + uri, core::audit_field::kOk);
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

// A clock that is behind, as it is after a boot without one, says nothing: what is noted by it
// would be long ago once it is right. No certificate was in use before its time began.
void Renewal::note_old(const Generation& current) {
  const X509Ptr certificate = readable_certificate_of(current);
  const std::time_t begins =
      certificate ? transport::nearest_time_t(transport::lifetime_of(certificate.get()).begins) : 0;
  if (std::time(nullptr) < begins) return;
  note_superseded(state_, store_.generations(), current.number,
                  std::max({state_.switched, time_of_link(store_), begins}));
  save();
}

// Programs that still have an old pair have some days to connect anew, as long as it opens a door;
// those whose hook failed have it until that.
void Renewal::remove_old(const Generation& current, Report& report) {
  for (const Generation& generation : store_.generations()) {
    if (generation.number >= current.number) continue;
    const X509Ptr certificate = readable_certificate_of(generation);
    const bool is_over = certificate && has_ended(certificate);
    const bool is_told = report.hook_failed.empty();
    if (is_over || (is_told && is_long_superseded(state_, generation.number, orders_.keep_old)))
      drop(generation, report);
  }
}

// What an earlier run has begun, if it is of use still.
std::optional<Generation> Renewal::usable_candidate() {
  auto candidate = store_.candidate();
  if (!candidate) return std::nullopt;
  if (candidate->cert.empty()) {
    // Each try makes a certificate that stays in force: so a person has to say that.
    if (!by_aws_ || !orders_.now || !aws_issuer_.is_for_another(*candidate)) return candidate;
    drop_if_possible(*candidate);
    return std::nullopt;
  }
  const X509Ptr certificate = certificate_of(*candidate);
  // AWS keeps in force what it has registered: another one would be one too many.
  if (by_aws_ && !has_ended(certificate)) return candidate;
  const auto current = store_.current();
  const X509Ptr old = current ? readable_certificate_of(*current) : nullptr;
  const bool old_works = old && !has_ended(old);
  const bool is_due = due_time(certificate.get(), policy_) <= std::time(nullptr);
  const bool is_refused = state_.refused >= kMostRefusals;
  if (!has_ended(certificate) && !is_refused && (!is_due || !old_works)) return candidate;
  // Where the old one has ended, this one may still open the CA's door.
  if (old_works || has_ended(certificate)) drop_if_possible(*candidate);
  return std::nullopt;
}

// What another generation of the same device can still ask with, where the current one has ended.
std::optional<Generation> Renewal::valid_generation(const X509* ended) const {
  auto all = store_.generations();
  std::ranges::reverse(all);
  for (const Generation& generation : all) {
    const X509Ptr certificate = readable_certificate_of(generation);
    if (certificate && !has_ended(certificate) &&
        X509_NAME_cmp(X509_get_subject_name(certificate.get()), X509_get_subject_name(ended)) == 0)
      return generation;
  }
  return std::nullopt;
}

Generation Renewal::begin_renewal(const Generation& current) {
  state_.refused = 0;
  const unsigned number = store_.next_number();
  if (!orders_.new_key) {
    if (const std::string uri = made_key(state_, current.number); !uri.empty()) {
      state_.made_keys[number] = uri;
      save();
    }
    return store_.begin(read_file(current.key.string()));
  }
  const std::string name = store_.directory().filename().string();
  const std::string uri = uri_of(invocation_, current.key);
  if_possible([this](Report& ignored) { remove_orphans(ignored); });
  const std::string place = place_beside(invocation_, core::KeyUri::parse(uri), name, number);
  if (!place.empty()) {  // said before it is made: so no crash makes it an orphan
    // The orphan that stays is one of no generation from now on.
    if (const std::string orphan = made_key(state_, number); !orphan.empty())
      state_.made_keys[kNoGeneration] = orphan;
    state_.made_keys[number] = place + ";type=private";
    save();
  }
  const std::string reference = make_beside(invocation_, current.key, place);
  ::sync();  // a token that is files (SoftHSM) does not write its keys through to the disk
  return store_.begin(reference);
}

// Another one for each device and each try: a CA that was away is not met by all of them at once.
double Renewal::draw_of_try() const {
  const auto current = store_.current();
  const auto candidate = store_.candidate();
  std::string own = candidate ? EstIssuer::request_of(*candidate) : "";
  if (own.empty() && current) own = current->cert.string();
  const std::string bytes = file_exists(own) ? read_file(own) : "";
  return transport::draw_of(bytes + std::to_string(state_.failures));
}

void Renewal::note_failure(const std::string& why, seconds asked, bool pending, Report& report) {
  const std::time_t now = std::time(nullptr);
  if (!pending) ++state_.failures;
  const auto current = store_.current();
  const X509Ptr certificate = current ? readable_certificate_of(*current) : nullptr;
  const seconds left =
      certificate ? transport::lifetime_of(certificate.get()).ends - transport::Time(seconds(now))
                  : kDay;
  const double draw = draw_of_try();
  asked += seconds(static_cast<seconds::rep>(kSpread * draw * static_cast<double>(asked.count())));
  seconds wait = transport::retry_wait(pending ? 1 : state_.failures, left, asked, draw);
  if (pending && asked.count() > 0) wait = std::min(wait, asked);  // sooner, if it says so
  state_.tried = now;
  state_.next = now + wait.count();
  state_.why = why;
  save();
  report.outcome = pending ? Outcome::pending : Outcome::failed;
  report.why = why;
  report.next = state_.next;
}

bool Renewal::obtain(const Generation& generation, const Applicant& applicant, const Trust& trust,
                     Report& report) {
  if (by_aws_) {
    aws_issuer_.obtain(generation, applicant.subject.get(),
                       [this](const std::string& certificate_id) { give_up(certificate_id); });
    return true;
  }
  std::optional<EstIssuer::Later> later;
  try {
    later = issuer_.obtain(generation, applicant, trust, state_.pending);
  } catch (...) {
    save();
    throw;
  }
  if (!later) return true;
  const std::string words = later->words.empty() ? "" : ": " + later->words;
  note_failure((later->pending ? "the CA has not decided yet" : "the server is busy") + words,
               later->after, later->pending, report);
  return false;
}

// What comes with a certificate of AWS may be another client id.
transport::DeviceConfig Renewal::trial_config(const Generation& generation) const {
  transport::DeviceConfig config = config_;
  for (const auto& [key, value] : store_.learned_with(generation.number)) config.set(key, value);
  return config;
}

// AWS has registered it just now, and does not know it everywhere at once.
Trial Renewal::try_patiently(const Generation& generation, const std::optional<Generation>& old) {
  Trial trial;
  OldPair old_pair(old);
  const auto attempt = [&] {
    trial = try_at_endpoint(trial_config(generation), generation, old_pair);
    if (by_aws_ && trial.result == Trial::Result::refused)
      throw TransportError(ErrorKind::refused, kWhat, store_.directory().string(), trial.why);
  };
  try {
    transport::cloud::persist(enrol::patience_of(invocation_), attempt, [&](const TransportError&) {
      return trial.result == Trial::Result::refused;
    });
  } catch (const TransportError&) {
    if (trial.result != Trial::Result::refused) throw;
  }
  return trial;
}

// Throws where the new pair is not to be used (yet).
void Renewal::try_new(const Generation& generation, const std::optional<Generation>& current) {
  const AuditedStep step(invocation_, store_, backend());
  const std::string what = "try " + name_of(generation);
  if (!current || !has_tls_endpoint(config_))
    return step.watch(what, [&] { issuer_.connect_with(generation); });
  const X509Ptr old = readable_certificate_of(*current);
  const bool nothing_to_lose = !old || has_ended(old);
  const Trial trial = try_patiently(generation, nothing_to_lose ? std::nullopt : current);
  if (trial.result == Trial::Result::good) return;
  step.record(what, trial.result == Trial::Result::refused ? "refused" : "no answer");
  if (trial.result == Trial::Result::no_answer && nothing_to_lose) return;
  if (trial.result == Trial::Result::refused) ++state_.refused;
  save();
  throw TransportError(ErrorKind::refused, kWhat, store_.directory().string(), trial.why,
                       by_aws_
                           ? "the old pair stays in use; the new one is tried again. Where AWS is "
                             "never to take it: hwid provision aws --another"
                           : "the old pair stays in use; the new one is tried again");
}

void Renewal::run_hooks(Report& report) {
  const auto save_state = [this] { save(); };
  forget_lost_hooks(orders_.hooks, state_);
  const auto failed = run_due_hooks(orders_.hooks, store_, state_, save_state);
  save();
  if (failed.empty()) return;
  for (const std::string& why : failed) report.hook_failed += why + "; ";
  report.hook_failed += failed.size() == 1 ? "mend it: hwid renew without --now runs it again"
                                           : "mend them: hwid renew without --now runs them again";
}

void Renewal::make_current(const Generation& generation, Report& report) {
  if (const auto current = store_.current()) note_old(*current);  // it was switched to before
  note_use(state_, generation);
  save();
  const AuditedStep step(invocation_, store_, backend());
  store_.make_current(generation.number);
  step.record("switch to " + name_of(generation), core::audit_field::kOk);
  report.outcome = Outcome::done;
  run_hooks(report);
}

Report Renewal::enroll(const std::string& key_source, Applicant applicant, const Trust& trust) {
  Report report;
  const std::string reference = reference_of(invocation_, key_source);
  auto generation = usable_candidate();
  if (generation &&
      (read_file(generation->key.string()) != reference || !is_for(*generation, applicant))) {
    drop(*generation, report);
    generation.reset();
    state_.pending = false;
  }
  if (!generation) {
    state_.pending = false;
    state_.refused = 0;
    generation = store_.begin(reference);
  }
  if (!generation->cert.empty() || obtain(*generation, applicant, trust, report)) {
    generation = store_.candidate();
    try_new(*generation, store_.current());
    make_current(*generation, report);
  }
  describe_current(report);
  report.to_deactivate = state_.to_deactivate;
  return report;
}

// An ended certificate opens no door: then that of the manufacturer does, if there is one.
Applicant Renewal::applicant_like(const Generation& current) const {
  const X509Ptr certificate = certificate_of(current);
  if (!certificate)
    throw TransportError(ErrorKind::environment, kWhat, current.key.parent_path().string(),
                         "there is no cert.pem", "enrol anew: " + enrolment_command(config_));
  Applicant applicant;
  copy_identity(certificate.get(), applicant);
  if (!has_ended(certificate)) {
    show(applicant, current);
    return applicant;
  }
  if (const auto valid = valid_generation(certificate.get())) {
    show(applicant, *valid);
    return applicant;
  }
  if (config_.claim_cert.empty())
    throw TransportError(
        ErrorKind::refused, kWhat, current.cert.string(),
        "the certificate has ended (" + transport::dates_of(certificate.get()) +
            "), and opens no door",
        "enrol anew: hwid enroll est; or give claim-cert and claim-key in device.conf");
  applicant.cert = config_.claim_cert;
  applicant.key = config_.claim_key;
  return applicant;
}

bool Renewal::has_same_key(const Generation& one, const Generation& other) {
  return is_same_key(find_key(invocation_, one.key.string()).get(),
                     find_key(invocation_, other.key.string()).get());
}

// Where the current pair has its own, the token is there, and tells the truth.
bool Renewal::has_lost_key(const Generation& candidate, const Generation& current) {
  return !find_key(invocation_, candidate.key.string()) &&
         find_key(invocation_, current.key.string());
}

void Renewal::renew_from(const Generation& current, Report& report) {
  auto generation = usable_candidate();
  if (generation && has_lost_key(*generation, current)) {
    Output::note(generation->key.string() +
                 ": the token has lost this key; it is begun anew with another generation");
    drop_if_possible(*generation);
    generation.reset();
  }
  if (generation && orders_.new_key && has_same_key(*generation, current)) {
    drop(*generation, report);
    generation.reset();
  }
  // Of AWS it may be registered, or cleaned up, still.
  if (!generation || generation->cert.empty() || by_aws_) {
    const Applicant applicant = applicant_like(current);
    if (!generation) {
      state_.pending = false;
      generation = begin_renewal(current);
    }
    const Trust trust = learned_trust(current);
    if (!obtain(*generation, applicant, trust, report)) return;
    generation = store_.candidate();
  }
  try_new(*generation, current);
  make_current(*generation, report);
}

// A first enrolment that the CA has not decided on, or that was interrupted behind its answer.
void Renewal::go_on(Report& report) {
  const auto generation = store_.candidate();
  require_begun(generation, config_, place_);
  if (generation->cert.empty()) {
    Applicant applicant;
    copy_identity(EstIssuer::request_of(*generation), applicant);
    applicant.cert = config_.claim_cert;
    applicant.key = config_.claim_key;
    if (!obtain(*generation, applicant, learned_trust(*generation), report)) return;
  }
  const Generation whole = *store_.candidate();
  try_new(whole, std::nullopt);
  make_current(whole, report);
}

void Renewal::make_try(const std::optional<Generation>& current, Report& report) {
  try {
    if (current)
      renew_from(*current, report);
    else
      go_on(report);
  } catch (const TransportError& error) {
    if (error.kind() == ErrorKind::usage) throw;
    note_failure(error.what(), error.retry_after(), false, report);
  } catch (const core::Error& error) {
    note_failure(error.what(), seconds(0), false, report);
  }
}

// What runs and generations before have left. It is in the way of no renewal: the token that
// refuses is in the report, and asked again by the next run.
void Renewal::clean_up(Report& report) {
  const auto current = store_.current();
  if (!current) return;
  try {
    note_old(*current);
    if (report.outcome == Outcome::failed) return;
    remove_orphans(report);
    remove_old(*current, report);
  } catch (const TransportError& error) {
    report.clean_up_failed = error.what();
  } catch (const core::Error& error) {
    report.clean_up_failed = error.what();
  }
}

Report Renewal::renew() {
  Report report;
  const auto current = store_.current();
  describe_current(report);
  if (is_time(orders_, {current, store_.candidate()}, state_, report)) {
    make_try(current, report);
    describe_current(report);
  }
  // Those of a run before, where this one has nothing newer.
  if (current && report.outcome != Outcome::done) run_hooks(report);
  clean_up(report);
  report.to_deactivate = state_.to_deactivate;
  return report;
}

}  // namespace hwid::tool::renewal
