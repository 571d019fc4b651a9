#include "tools/hwid/renewal/schedule.h"

#include <filesystem>

#include "tools/hwid/files.h"
#include "tools/hwid/x509/name.h"
#include "transport/certificate_text.h"
#include "transport/utc_time.h"

namespace hwid::tool::renewal {

using transport::CredentialStore;
using transport::ErrorKind;
using transport::X509Ptr;
using TransportError = transport::Error;

transport::RenewAt policy_of(const transport::DeviceConfig& config) {
  return transport::parse_renew_at(config.renew_at).value_or(transport::RenewAt());
}

X509Ptr readable_certificate_of(const Generation& generation) {
  if (generation.cert.empty()) return nullptr;
  auto chain = transport::read_certificates(generation.cert.string());
  return chain.empty() ? nullptr : std::move(chain.front());
}

X509Ptr certificate_of(const Generation& generation) {
  X509Ptr certificate = readable_certificate_of(generation);
  if (certificate || generation.cert.empty()) return certificate;
  (void)read_file(generation.cert.string());  // says why, where it cannot be read
  throw TransportError(ErrorKind::environment, kWhat, generation.cert.string(),
                       "it holds no certificate",
                       "enrol anew (hwid enroll est, at AWS hwid provision aws), or make another "
                       "generation the current one");
}

std::time_t due_time(const X509* certificate, const transport::RenewAt& policy) {
  return transport::nearest_time_t(transport::renewal_time(
      transport::lifetime_of(certificate), policy, transport::draw_of(certificate)));
}

std::string advice_on_haste(std::time_t due, std::time_t ends) {
  // conf/hwid-renew.timer: its period, what it adds by chance, and the accuracy of systemd's
  // timers.
  constexpr std::chrono::minutes kLook{10 + 3 + 1};
  constexpr int kFewLooks = 3;
  if (ends - due >= std::chrono::seconds(kLook * kFewLooks).count()) return {};
  return "hwid-renew.timer looks every " + std::to_string(kLook.count()) +
         " minutes at the latest, and " + std::to_string((ends - due) / 60) +
         " minutes are left once it is due: let the CA give it a longer life, or renew-at name a "
         "smaller share of that";
}

void describe(const std::optional<Generation>& current, const transport::RenewAt& policy,
              Report& report) {
  if (!current) return;
  report.generation = current->number;
  const X509Ptr certificate = certificate_of(*current);
  if (!certificate) return;
  report.subject = x509::name_text(X509_get_subject_name(certificate.get()));
  report.serial = transport::serial_of(certificate.get());
  report.ends = transport::nearest_time_t(transport::lifetime_of(certificate.get()).ends);
  report.due = due_time(certificate.get(), policy);
}

bool is_time(const Orders& orders, const CredentialStore::View& view, const State& state,
             Report& report) {
  if (orders.now) return true;
  const std::time_t now = std::time(nullptr);
  if (view.current && !view.candidate && now < report.due) {
    report.outcome = Outcome::not_due;
    return false;
  }
  // A clock that was ahead when it was tried must not stop renewals.
  if (now < state.tried || now >= state.next) return true;
  report.outcome = state.pending ? Outcome::pending : Outcome::waiting;
  report.why = state.why;
  report.next = state.next;
  return false;
}

void require_begun(const std::optional<Generation>& candidate,
                   const transport::DeviceConfig& config, const Place& place) {
  const bool is_issued = candidate && !candidate->cert.empty();
  const bool is_asked_for = candidate && !EstIssuer::request_of(*candidate).empty();
  const bool is_by_est = !config.est_url.empty();
  if (is_by_est && (is_issued || (is_asked_for && !config.claim_cert.empty()))) return;
  const auto directory = std::filesystem::absolute(place.state_dir) / place.name;
  throw TransportError(
      ErrorKind::usage, kWhat, directory.string(), "there is no certificate to renew",
      is_by_est ? "enrol first: hwid enroll est" : "provision it first: hwid provision aws");
}

Report forecast(const transport::DeviceConfig& config, const Place& place, const Orders& orders) {
  const auto view = CredentialStore::look_at(place.state_dir, place.name);
  Report report;
  report.name = place.name;
  if (!view.current) require_begun(view.candidate, config, place);
  describe(view.current, policy_of(config), report);
  const State state = read_state(std::filesystem::absolute(place.state_dir) / place.name);
  if (is_time(orders, view, state, report)) report.outcome = Outcome::due;
  report.to_deactivate = state.to_deactivate;
  return report;
}

}  // namespace hwid::tool::renewal
