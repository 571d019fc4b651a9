#pragma once

#include <ctime>
#include <string>
#include <vector>

#include "transport/openssl_handles.h"

namespace hwid::transport {

// Certificates as messages show them: what comes from a peer is cut to a sane length and holds no
// control characters.

std::string utc_text(std::time_t time);  // 2026-11-28T15:39:09Z
std::string utc_text(const std::tm& fields);

std::string subject_of(const X509* certificate);
std::string issuer_of(const X509* certificate);
std::string serial_of(const X509* certificate);  // hexadecimal
std::string dates_of(const X509* certificate);   // "valid from A to B; the clock says C"
// The first part of that kind (NID_commonName, ...) as UTF-8, to compare and not to show: it is as
// the peer made it. Empty without one.
std::string name_part(const X509_NAME* name, int nid);
// The names that a client may expect of it: "DNS:a, IP:192.0.2.1", or its CN where it has none.
std::string names_of(const X509* certificate);

enum class Validity { valid, not_yet, expired };
Validity validity_of(const X509* certificate);  // by this machine's clock

// All certificates of a PEM file, in its order; empty where there are none.
std::vector<X509Ptr> read_certificates(const std::string& file);

}  // namespace hwid::transport
