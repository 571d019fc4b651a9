#include "tools/hwid/status/certificates.h"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "provider/core/error.h"
#include "tools/hwid/files.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/paths.h"
#include "tools/hwid/time_words.h"
#include "tools/hwid/x509/encoding.h"
#include "tools/hwid/x509/name.h"
#include "transport/certificate_text.h"
#include "transport/utc_time.h"

namespace hwid::tool::status {
namespace {

constexpr std::size_t kMostBytes = std::size_t{16} << 20;  // of all CAs there are, and some
constexpr core::Wanted kCertificates{false, false, true};

core::ByteView view_of(const std::string& bytes) {
  return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}

std::int64_t number_of(std::time_t time) { return static_cast<std::int64_t>(time); }

std::optional<std::time_t> time_of(const ASN1_TIME* time) {
  std::tm fields{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &fields) != 1) return std::nullopt;
  return transport::utc_time(fields);
}

State state_of(std::time_t begins, std::time_t ends, const Limits& limits, std::time_t now) {
  if (now < begins || ends - now <= limits.critical.count() || ends <= now) return State::kCritical;
  return ends - now <= limits.warning.count() ? State::kWarning : State::kOk;
}

Limits within_life(Limits limits, std::time_t begins, std::time_t ends) {
  const std::chrono::seconds life(std::max<std::time_t>(ends - begins, 0));
  if (!limits.is_warning_asked) limits.warning = std::min(limits.warning, life / 4);
  if (!limits.is_critical_asked) limits.critical = std::min(limits.critical, life / 8);
  return limits;
}

// "begins 2027-..., in 3 days" where it is not valid yet, else "ends ..., in 3 days".
std::string validity_text(std::time_t begins, std::time_t ends, std::time_t now) {
  if (now < begins) return "not valid before " + end_text(begins, now);
  return (ends > now ? "ends " : "ended ") + end_text(ends, now);
}

}  // namespace

void Certificates::look_at(const std::string& place) {
  const bool is_uri = is_key_uri(place);
  const std::string shown = shown_source(place);
  try {
    if (!is_uri)
      add_file(place);
    else if (add_objects(place, Makers::kToo) == 0)
      throw core::Error(core::Reason::kNoObject,
                        shown +
                            ": there is no certificate that is seen without a login; `hwid "
                            "import` puts one beside its key");
  } catch (const core::Error& error) {
    report_.add({"certificate", shown, shown, State::kCritical, nullptr, error.what(), ""});
  }
}

void Certificates::look_at(const core::TokenInfo& token) {
  try {
    add_objects(token.uri, Makers::kNot);
  } catch (const core::Error& error) {
    using core::Reason;
    if (error.reason == Reason::kNoObject || error.reason == Reason::kUnsupported) return;
    report_.add({"certificate", token.uri, token.uri, State::kWarning, nullptr, error.what(), ""});
  }
}

void Certificates::add_file(const std::string& file) {
  OSSL_LIB_CTX* const crypto = invocation_.software().get();
  for (const x509::Certificate& certificate :
       x509::parse_certificates(read_file(file, kMostBytes), file, crypto))
    add(file, view_of(x509::der(certificate.get())));
}

// How many there are. For those that a TPM's maker put there nobody here gets a new one, so they
// count only where they are named.
std::size_t Certificates::add_objects(const std::string& uri, Makers makers) {
  const auto objects = invocation_.router_without_login().open(
      core::KeyUri::parse(uri), kCertificates, nullptr, core::Router::Origin::kProgram);
  for (const core::Object& object : objects) {
    const bool is_makers = !object.description.traits.empty();
    if (makers == Makers::kToo || !is_makers) add(object.description.uri, object.certificate);
  }
  return objects.size();
}

void Certificates::add(const std::string& place, core::ByteView der) {
  const auto facts = certificate_facts(invocation_.software(), der);
  if (facts) return add(place, *facts);
  report_.add({"certificate", place, place, State::kWarning, nullptr,
               "what the token answers is no certificate", "export it, and look at it"});
}

void Certificates::add(const std::string& place, const CertificateFacts& certificate) {
  if (!seen_.insert(certificate.fingerprint).second) return;
  const std::time_t begins = certificate.begins;
  const std::time_t ends = certificate.ends;
  newest_begin_ = std::max(newest_begin_, begins);
  const State state = state_of(begins, ends, within_life(limits_, begins, ends), now_);
  const bool early = now_ < begins;
  const std::string next = state == State::kOk ? ""
                           : early             ? "see that the clock is right, or wait"
                                               : "get a new one: `hwid csr` makes the request";
  report_.add(
      {"certificate", certificate.subject.empty() ? "(no subject)" : certificate.subject, place,
       state, number_of(ends), validity_text(begins, ends, now_) + " (" + place + ")", next},
      "serial " + certificate.serial);
  report_.sample("hwid_certificate_not_after_timestamp_seconds",
                 {{"source", place},
                  {"subject", certificate.subject},
                  {"issuer", certificate.issuer},
                  {"serial", certificate.serial}},
                 number_of(ends));
}

void Certificates::look_at_crls(const std::string& file) {
  try {
    const auto crls =
        x509::parse_crls(read_file(file, kMostBytes), file, invocation_.software().get());
    for (const x509::Crl& crl : crls) add_crl(file, crl.get());
  } catch (const core::Error& error) {
    report_.add({"crl", file, file, State::kCritical, nullptr, error.what(), ""});
  }
}

void Certificates::add_crl(const std::string& file, const X509_CRL* crl) {
  const std::string issuer = x509::name_text(X509_CRL_get_issuer(crl));
  const std::string subject = issuer.empty() ? file : issuer;
  const std::optional<std::time_t> begins = time_of(X509_CRL_get0_lastUpdate(crl));
  const std::optional<std::time_t> ends = time_of(X509_CRL_get0_nextUpdate(crl));
  const std::string where = " (" + file + ")";
  if (!begins || !ends) {  // RFC 5280, section 5.1.2.5: nextUpdate must be there
    report_.add({"crl", subject, file, State::kWarning, nullptr,
                 "it does not say when the next one comes" + where,
                 "have the CA write nextUpdate into its CRLs"});
    return;
  }
  const std::chrono::seconds quarter(std::max<std::time_t>(*ends - *begins, 0) / 4);
  const Limits limits{std::min(quarter, limits_.critical), std::chrono::seconds(0)};
  const State state = state_of(*begins, *ends, limits, now_);
  const std::string next = state == State::kOk ? ""
                           : now_ < *begins    ? "see that the clock is right, or wait"
                                               : "get the CA's new one";
  const std::string text = now_ < *begins ? validity_text(*begins, *ends, now_)
                                          : (*ends > now_ ? "next one by " : "next one was due ") +
                                                end_text(*ends, now_);
  report_.add({"crl", subject, file, state, number_of(*ends), text + where, next}, file);
  report_.sample("hwid_crl_next_update_timestamp_seconds", {{"source", file}, {"issuer", issuer}},
                 number_of(*ends));
}

}  // namespace hwid::tool::status
