#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "transport/openssl_handles.h"

// When a certificate is renewed, and when a renewal that failed is tried again: functions of what
// they are given, without a clock.
namespace hwid::transport {

// `renew-at` of device.conf: "50%" of the lifetime, or "30d", "36h", "90m" before its end.
struct RenewAt {
  double share = 0.5;                              // of the lifetime, above 0 and below 1
  std::optional<std::chrono::seconds> before_end;  // instead of the share
};
// Nothing where it is neither.
std::optional<RenewAt> parse_renew_at(const std::string& text);

using Time = std::chrono::sys_seconds;
struct Lifetime {
  Time begins;
  Time ends;
};
// Throws Error where the certificate's dates are none.
Lifetime lifetime_of(const X509* certificate);

// The moment from which on it is due. `draw`, from 0 to below 1, spreads a fleet that was enrolled
// in one hour over a fifth of the time that would be left. A time before the end that is longer
// than two thirds of the lifetime counts as two thirds: else each new one would be due at once.
Time renewal_time(const Lifetime& lifetime, const RenewAt& policy, double draw);

// A draw that is the certificate's own: the same at each call and in each process.
double draw_of(const X509* certificate);
// The same of any bytes.
double draw_of(std::string_view bytes);

// How long to wait after the last of `failures` (from 1 on): from five minutes, doubled up to a
// day or, if that is less, a tenth of what is `left` of the certificate; half of it by the draw.
// One that has ended is asked for every hour. What the server asked for is waited for, up to half
// of what is left, or to a day.
std::chrono::seconds retry_wait(unsigned failures, std::chrono::seconds left,
                                std::chrono::seconds asked, double draw);

}  // namespace hwid::transport
