#pragma once

#include <hwid/device_config.h>

#include <chrono>
#include <string>

#include "transport/tls_client.h"

namespace hwid::transport {

// Who is the one that does not want, or cannot.
enum class Side { nobody, network, we, server };

// Why there is no connection. Names begin with who refuses: own_... is our own set-up, found before
// anything is sent; server_... is what we refuse about the server; client_... is what the server
// refuses about us.
enum class Cause {
  none,  // nothing is wrong as far as TLS goes
  name_not_resolved,
  no_tcp,
  proxy_refused,
  not_tls,       // something answers, but not TLS
  no_answer,     // in time
  own_settings,  // CA file, CRL file, ciphers, openssl.cnf
  own_certificate_unusable,
  own_certificate_expired,
  own_certificate_not_yet_valid,
  own_key_unusable,  // its provider cannot open it, or it cannot sign
  own_key_mismatch,
  server_unknown_ca,
  server_chain_incomplete,
  server_certificate_expired,
  server_certificate_not_yet_valid,
  server_certificate_revoked,
  server_certificate_bad,
  server_name_mismatch,
  server_revocation_unknown,  // no CRL, a stale one; no or no good OCSP response
  client_unknown_ca,
  client_certificate_required,
  client_certificate_expired,
  client_certificate_revoked,
  client_certificate_bad,
  client_not_accepted,  // probably not registered, or not active
  protocol_version,
  cipher_mismatch,
  alpn_mismatch,
  name_unknown,  // to the server: the name that we ask for (SNI)
  closed,        // without a reason
  other,
};

// "server_unknown_ca".
const char* name_of(Cause cause);
Side side_of(Cause cause);

struct Diagnosis {
  Cause cause = Cause::none;
  std::string why;       // one sentence
  std::string evidence;  // what was seen: an alert, names, dates, the clock
  std::string next_step;

  bool good() const noexcept { return cause == Cause::none; }
  // "why (evidence)", for an Error.
  std::string text() const { return evidence.empty() ? why : why + " (" + evidence + ")"; }
};

struct DiagnosisOptions {
  std::chrono::milliseconds timeout{5000};
  // How long to wait after the handshake for the server's opinion of our certificate.
  std::chrono::milliseconds listen{1000};
};

// Makes the connection by hand and says why it fails: certificate and key, name, TCP, proxy, TLS
// handshake, what the server says after it, CRL and OCSP response. One TCP connection, one
// handshake, one signature by our key; nothing is sent above TLS. Threads: any. Blocks for the
// timeout at most, and for our key and the resolution of a name.
Diagnosis diagnose(const TlsSettings& settings, const DiagnosisOptions& options = {});

// TCP (and proxy) only.
Diagnosis diagnose_tcp(const Endpoint& endpoint, const Proxy& proxy,
                       Addresses addresses = Addresses::all, const DiagnosisOptions& options = {});

// Certificate and key alone: to be opened, and belonging together. Connects to nobody and makes no
// signature.
Diagnosis diagnose_key_pair(const TlsSettings& settings);

// The device's certificate and key alone: to be opened, belonging together, valid by the clock.
// Connects to nobody.
Diagnosis diagnose_credentials(const DeviceConfig& config);

}  // namespace hwid::transport
