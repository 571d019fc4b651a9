#include "transport/cloud/renewal_time.h"

#include <hwid/transport_error.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <ctime>
#include <new>

#include "transport/certificate_text.h"
#include "transport/utc_time.h"

namespace hwid::transport {

namespace {

using std::chrono::seconds;

constexpr double kSpread = 0.2;  // of the time that is left
constexpr seconds kDay = std::chrono::hours(24);
constexpr seconds kFirstWait = std::chrono::minutes(5);
constexpr seconds kEndedWait = std::chrono::hours(1);
constexpr seconds kLeastWait = std::chrono::minutes(1);
constexpr unsigned kMostDoublings = 20;

seconds share_of(seconds time, double share) {
  return seconds(
      static_cast<seconds::rep>(std::llround(static_cast<double>(time.count()) * share)));
}

std::optional<seconds> unit_of(char letter) {
  switch (letter) {
    case 'd':
      return kDay;
    case 'h':
      return std::chrono::hours(1);
    case 'm':
      return std::chrono::minutes(1);
    default:
      return std::nullopt;
  }
}

double draw_in(const std::array<unsigned char, SHA256_DIGEST_LENGTH>& digest) {
  std::uint32_t number = 0;
  for (std::size_t at = 0; at < sizeof number; ++at) number = number << 8 | digest[at];
  return std::ldexp(static_cast<double>(number), -32);
}

Time time_of(const X509* certificate, const ASN1_TIME* time) {
  std::tm fields{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &fields) != 1)
    throw Error(ErrorKind::refused, "renewal", subject_of(certificate),
                "the certificate's dates cannot be read", "enrol anew");
  return utc_seconds(fields);
}

}  // namespace

std::optional<RenewAt> parse_renew_at(const std::string& text) {
  constexpr unsigned kMost = 36500;
  unsigned number = 0;
  const auto [rest, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc() || rest + 1 != text.data() + text.size() || number < 1)
    return std::nullopt;
  RenewAt policy;
  if (*rest == '%') {
    if (number > 99) return std::nullopt;  // NOLINT: of a hundred
    policy.share = number / 100.0;
    return policy;
  }
  const auto unit = unit_of(*rest);
  if (!unit || number > kMost * (kDay / *unit)) return std::nullopt;
  policy.before_end = *unit * number;
  return policy;
}

Lifetime lifetime_of(const X509* certificate) {
  const Lifetime lifetime{time_of(certificate, X509_get0_notBefore(certificate)),
                          time_of(certificate, X509_get0_notAfter(certificate))};
  if (lifetime.ends <= lifetime.begins)
    throw Error(ErrorKind::refused, "renewal", subject_of(certificate),
                "the certificate ends before it begins", "enrol anew");
  return lifetime;
}

Time renewal_time(const Lifetime& lifetime, const RenewAt& policy, double draw) {
  const seconds whole = lifetime.ends - lifetime.begins;
  seconds left = share_of(whole, 1 - policy.share);
  if (policy.before_end) left = std::min(*policy.before_end, whole * 2 / 3);
  return lifetime.ends - left + share_of(left, kSpread * draw);
}

double draw_of(const X509* certificate) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  unsigned size = 0;
  if (X509_digest(certificate, EVP_sha256(), digest.data(), &size) != 1) throw std::bad_alloc();
  return draw_in(digest);
}

double draw_of(std::string_view bytes) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  ::SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  return draw_in(digest);
}

seconds retry_wait(unsigned failures, seconds left, seconds asked, double draw) {
  left = std::max(left, seconds(0));
  const seconds longest = left == seconds(0) ? kEndedWait : std::clamp(left / 10, kLeastWait, kDay);
  const unsigned doublings = std::min(std::max(failures, 1U) - 1, kMostDoublings);
  const seconds ceiling = std::min(longest, kFirstWait * (1U << doublings));
  const seconds wait = ceiling / 2 + share_of(ceiling / 2, draw);
  const seconds most_asked = left == seconds(0) ? kDay : std::max(left / 2, kLeastWait);
  return std::max(wait, std::clamp(asked, seconds(0), most_asked));
}

}  // namespace hwid::transport
