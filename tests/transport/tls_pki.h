// Certificates and settings that the tests of TLS share.
#pragma once

#include <string>

#include "pki.h"
#include "transport/tls_client.h"

namespace hwid::test {

// ca, server (DNS:localhost) and client by it; other-ca, and stranger by that.
class TlsPki {
 public:
  TlsPki() {
    make("ca", "");
    make("other-ca", "");
    make("server", "ca", "DNS:localhost");
    make("client", "ca");
    make("stranger", "other-ca");
  }
  void make(const std::string& name, const std::string& issuer, const std::string& san = {}) const {
    make_certificate(path(), name, issuer, san);
  }
  void make(const std::string& name, const CertificateOptions& options) const {
    make_certificate(path(), name, options);
  }
  std::filesystem::path path() const { return directory_.path(); }
  std::string file(const std::string& name) const { return (directory_ / name).string(); }

  // To localhost as `client`.
  transport::TlsSettings settings(int port) const {
    transport::TlsSettings settings;
    settings.endpoint = {"mqtts", "localhost", static_cast<std::uint16_t>(port), {}};
    settings.ca_file = file("ca.pem");
    settings.security_level = 1;
    use(settings, "client");
    return settings;
  }
  void use(transport::TlsSettings& settings, const std::string& name) const {
    settings.cert_path = settings.cert_name = file(name + ".pem");
    settings.key_path = settings.key_name = file(name + ".key");
  }

 private:
  TemporaryDirectory directory_;
};

inline CertificateOptions issued_by(const std::string& issuer, const std::string& san = {}) {
  CertificateOptions options;
  options.issuer = issuer;
  options.san = san;
  return options;
}

}  // namespace hwid::test
