#pragma once

#include <hwid/device_config.h>

#include <string>

#include "transport/tls_client.h"

namespace hwid::transport {

struct StapleVerdict {
  enum Kind { good, revoked, unknown } kind = good;
  std::string why;  // of revoked and unknown
};

// Judges what the server stapled about its own certificate (RFC 6066, 8; RFC 6960). `staple`: a
// response must be good, and one must be there where the certificate demands it (RFC 7633);
// `require`: one must be there. Of several only the first counts: intermediates are not looked at.
// REQUIRES: the server's chain is verified, against `trusted`.
StapleVerdict judge_staple(SSL* ssl, X509_STORE* trusted, Ocsp wanted);

inline StapleVerdict judge_staple(const TlsClient& client, Ocsp wanted) {
  return judge_staple(client.ssl(), client.trusted(), wanted);
}

// The value of `ocsp`.
Ocsp ocsp_of(const DeviceConfig& config);

}  // namespace hwid::transport
