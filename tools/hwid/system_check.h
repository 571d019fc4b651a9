// Whether ordinary OpenSSL programs work with an openssl.cnf.
#pragma once

#include <string>
#include <vector>

namespace hwid::tool {

struct Check {
  std::string what;     // "openssl version", "TLS handshake", ...
  std::string problem;  // empty: it works
};

// Runs them in processes of their own with that file as OPENSSL_CONF: the openssl command where it
// is installed, and a TLS client and server with keys in software. `with_hwid`: the provider must
// be active, too. REQUIRES: the caller has one thread.
std::vector<Check> check_system(const std::string& openssl_conf, bool with_hwid);

// "what: problem" of the first that does not work; empty if all do.
std::string first_problem(const std::vector<Check>& checks);

}  // namespace hwid::tool
