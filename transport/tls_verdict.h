#pragma once

#include "transport/tls_diagnosis.h"

// Words for what a TLS handshake left behind. A part of tls_diagnosis.
namespace hwid::transport {

// Our set-up failed before the connection; the reason is on OpenSSL's error queue.
Diagnosis set_up_verdict(const TlsSettings& settings, TlsClient::Step failed_at);

// The server chose a version that our security level has no signatures for, whatever failed by
// that; or nothing.
Diagnosis version_verdict(const TlsEvents& events, int security_level);

// We refused the server's certificate. REQUIRES: events.verify_error.
Diagnosis verify_verdict(const TlsSettings& settings, const TlsEvents& events);

// The server sent an alert. REQUIRES: events.alert_received.
Diagnosis alert_verdict(const TlsSettings& settings, const TlsEvents& events);

// libssl failed, or the connection was closed; the reason is on OpenSSL's error queue, or empty.
Diagnosis failure_verdict(const TlsSettings& settings, const TlsEvents& events,
                          bool after_handshake);

// Of the dates of our own certificate, or nothing.
Diagnosis own_certificate_verdict(const TlsSettings& settings);

}  // namespace hwid::transport
