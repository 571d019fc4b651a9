// When a certificate is renewed, and tried again.
#include <doctest/doctest.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <vector>

#include "pki.h"
#include "transport/certificate_text.h"
#include "transport/cloud/renewal_time.h"
#include "transport/utc_time.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

constexpr seconds kDay = hours(24);
const Lifetime kYear{Time(seconds(1'700'000'000)), Time(seconds(1'700'000'000) + 365 * kDay)};

RenewAt policy(const std::string& text) {
  const auto parsed = parse_renew_at(text);
  REQUIRE(parsed.has_value());
  return *parsed;
}

}  // namespace

TEST_CASE("renew-at: a share of the lifetime, or a time before its end") {
  CHECK(policy("50%").share == 0.5);
  CHECK(policy("1%").share == 0.01);
  CHECK(policy("30d").before_end == 30 * kDay);
  CHECK(policy("36h").before_end == hours(36));
  CHECK(policy("90m").before_end == minutes(90));
  for (const char* bad : {"", "%", "d", "50", "0%", "100%", "101%", "0d", "-1d", "50 %", "50%%",
                          "1.5d", "3w", "36501d", "99999999999d", "50%d", " 50%"})
    CHECK_FALSE(parse_renew_at(bad).has_value());
}

TEST_CASE("renewal: due between the policy's time and a fifth of what is left") {
  CHECK(renewal_time(kYear, policy("50%"), 0) == kYear.begins + seconds(365 * kDay) / 2);
  CHECK(renewal_time(kYear, policy("30d"), 0) == kYear.ends - 30 * kDay);
  for (const char* text : {"1%", "50%", "99%", "30d", "1h", "36500d"}) {
    const auto first = renewal_time(kYear, policy(text), 0);
    const auto last = renewal_time(kYear, policy(text), 0.999999);
    CHECK(first >= kYear.begins);
    CHECK(last > first);
    CHECK(last - first <= (kYear.ends - first) / 5);
    CHECK(last < kYear.ends);
  }
}

TEST_CASE("renewal: a certificate that is shorter than renew-at is not due at once") {
  const Lifetime week{kYear.begins, kYear.begins + 7 * kDay};
  CHECK(renewal_time(week, policy("30d"), 0) >= week.begins + seconds(7 * kDay) / 4);
}

TEST_CASE("renewal: a fleet that was enrolled at once comes spread") {
  const TemporaryDirectory directory;
  std::vector<double> draws;
  constexpr int kDevices = 40;
  make_certificate(directory.path(), "ca", "");
  make_certificate(directory.path(), "device", "ca");
  CertificateOptions options;
  options.issuer = "ca";
  options.key = "device";
  for (int device = 0; device < kDevices; ++device) {
    make_certificate(directory.path(), "copy", options);
    const auto chain = read_certificates((directory / "copy.pem").string());
    REQUIRE(!chain.empty());
    draws.push_back(draw_of(chain[0].get()));
    CHECK(draw_of(chain[0].get()) == draws.back());  // the same each time
    CHECK(draw_of("try " + std::to_string(draws.size())) != draw_of("try"));
  }
  CHECK(std::all_of(draws.begin(), draws.end(), [](double d) { return d >= 0 && d < 1; }));
  for (const double quarter : {0.0, 0.25, 0.5, 0.75})
    CHECK(std::any_of(draws.begin(), draws.end(),
                      [&](double d) { return d >= quarter && d < quarter + 0.25; }));
}

TEST_CASE("renewal: waits after failures grow, and end before the certificate does") {
  const seconds month = 30 * kDay;
  CHECK(retry_wait(1, month, seconds(0), 0) == seconds(150));
  CHECK(retry_wait(1, month, seconds(0), 0.999) <= minutes(5));
  seconds before{0};
  for (unsigned failures = 1; failures < 40; ++failures) {
    const seconds wait = retry_wait(failures, month, seconds(0), 0.5);
    CHECK(wait >= before);
    CHECK(wait <= kDay);
    before = wait;
  }
  CHECK(before == kDay * 3 / 4);
  // A tenth of what is left: ten more tries.
  CHECK(retry_wait(30, hours(10), seconds(0), 0.999) <= hours(1));
  CHECK(retry_wait(30, minutes(1), seconds(0), 0.999) <= minutes(1));
  // What has ended is asked for once an hour at least, and not without a pause.
  CHECK(retry_wait(30, seconds(0), seconds(0), 0.999) <= hours(1));
  CHECK(retry_wait(30, seconds(-5), seconds(0), 0) >= minutes(30));
}

TEST_CASE("renewal: what the server asks for is waited for, within reason") {
  const seconds month = 30 * kDay;
  CHECK(retry_wait(1, month, hours(3), 0) == hours(3));
  CHECK(retry_wait(1, month, seconds(1), 0) == seconds(150));
  CHECK(retry_wait(1, month, 1000 * kDay, 0) == month / 2);
  CHECK(retry_wait(1, month, seconds(-7), 0) == seconds(150));
  CHECK(retry_wait(1, seconds(0), 1000 * kDay, 0) == kDay);
}

// As on a machine of any time_t: that of Debian 12 on armhf ends in January 2038.
TEST_CASE("a certificate may end after 2038") {
  const std::unique_ptr<X509, OpensslDelete<X509_free>> certificate(X509_new());
  REQUIRE(ASN1_TIME_set_string(X509_getm_notBefore(certificate.get()), "20261129000000Z") == 1);
  REQUIRE(ASN1_TIME_set_string(X509_getm_notAfter(certificate.get()), "20491231235959Z") == 1);
  const Lifetime lifetime = lifetime_of(certificate.get());
  CHECK(lifetime.begins == Time(seconds(1'795'910'400)));
  CHECK(lifetime.ends == Time(seconds(2'524'607'999)));
  CHECK(renewal_time(lifetime, policy("50%"), 0) > Time(seconds(2'147'483'647)));
  const std::string dates = dates_of(certificate.get());
  CHECK(dates.find("from 2026-11-29T00:00:00Z to 2049-12-31T23:59:59Z") != std::string::npos);
}

TEST_CASE("a moment in seconds, and the time_t next to it") {
  const auto moment = [](const char* text) {
    std::tm fields{};
    REQUIRE(::strptime(text, "%Y-%m-%dT%H:%M:%SZ", &fields) != nullptr);
    return utc_seconds(fields);
  };
  CHECK(moment("1970-01-01T00:00:00Z") == Time(seconds(0)));
  CHECK(moment("1969-12-31T23:59:59Z") == Time(seconds(-1)));
  CHECK(moment("2000-02-29T12:34:56Z") == Time(seconds(951'827'696)));
  CHECK(moment("2038-01-19T03:14:08Z") == Time(seconds(2'147'483'648)));
  CHECK(moment("9999-12-31T23:59:59Z") == Time(seconds(253'402'300'799)));
  CHECK(nearest_time_t(Time(seconds(951'827'696))) == 951'827'696);
  CHECK(nearest_time_t(Time(seconds(2'147'483'648))) >= 2'147'483'647);
  CHECK(nearest_time_t(Time(seconds(-2'147'483'649))) <= -2'147'483'647);
}
