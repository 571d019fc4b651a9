#pragma once

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
// REQUIRES: the handshake is done.
StapleVerdict judge_staple(const TlsClient& client, Ocsp wanted);

}  // namespace hwid::transport
