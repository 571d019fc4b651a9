// Which versions of TLS there are on both sides.
#pragma once

#include <string>
#include <vector>

#include "transport/tls_diagnosis.h"

namespace hwid::transport {

// "TLS 1.2", of libssl's number.
std::string version_text(int version);

// Those that a client of these settings offers, by openssl.cnf and its security level; the lowest
// first. Empty where libssl does not take the settings.
std::vector<int> versions_of_client(const TlsSettings& settings);

// Those that the server takes, the lowest first. One connection for each, without our certificate
// and key, ended as soon as the server has answered. Blocks for the timeout at most, and for the
// resolution of its name.
std::vector<int> versions_of_server(const TlsSettings& settings,
                                    const DiagnosisOptions& options = {});

// "TLS 1.0, TLS 1.1"; "none".
std::string versions_text(const std::vector<int>& versions);

}  // namespace hwid::transport
