#include <doctest/doctest.h>
#include <openssl/obj_mac.h>

#include "revocation_files.h"
#include "tls_pki.h"
#include "tls_server.h"
#include "transport/tls_diagnosis.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

void expect(const Diagnosis& found, Cause cause, const std::string& part = {}) {
  const std::string all = std::string(name_of(found.cause)) + ": " + found.text();
  CHECK_MESSAGE(found.cause == cause, all);
  CHECK_MESSAGE(contains(found.text(), part), all);
}

}  // namespace

TEST_CASE("revocation: a CRL of the server's CA") {
  const TlsPki pki;
  pki.make("other", "ca", "DNS:localhost");
  const OpensslServer server(pki.path(), "server");
  auto settings = pki.settings(server.port());
  settings.crl_file = pki.file("crl.pem");
  const auto with = [&](const std::string& ca, const std::vector<std::string>& revoked,
                        Period period = {}) {
    std::filesystem::remove(settings.crl_file);
    append_crl(pki.path(), "crl.pem", ca, revoked, period);
    return diagnose(settings);
  };
  expect(with("ca", {}), Cause::none);
  expect(with("ca", {"other"}), Cause::none);
  expect(with("ca", {"server", "other"}), Cause::server_certificate_revoked, "CN=server");
  expect(with("ca", {}, {-7200, -3600}), Cause::server_revocation_unknown, "CRL has expired");
  expect(with("ca", {}, {3600, 7200}), Cause::server_revocation_unknown, "CRL is not yet valid");
  expect(with("other-ca", {"stranger"}), Cause::server_revocation_unknown, "unable to get");
  std::filesystem::remove(settings.crl_file);
  expect(diagnose(settings), Cause::own_settings, "crl.pem");
}

TEST_CASE("revocation: CRLs of a chain count where the file has them") {
  const TlsPki pki;
  auto options = issued_by("ca");
  options.ca = true;
  pki.make("intermediate", options);
  pki.make("below", "intermediate", "DNS:localhost");
  const OpensslServer server(pki.path(), "below", {"-cert_chain", "intermediate.pem"});
  auto settings = pki.settings(server.port());
  settings.crl_file = pki.file("crl.pem");
  append_crl(pki.path(), "crl.pem", "intermediate", {});
  expect(diagnose(settings), Cause::none);
  append_crl(pki.path(), "crl.pem", "ca", {"intermediate"});
  expect(diagnose(settings), Cause::server_certificate_revoked, "CN=intermediate");
}

TEST_CASE("revocation: a stapled OCSP response, in TLS 1.3 and 1.2") {
  const TlsPki pki;
  auto options = issued_by("ca");
  options.extensions = {{NID_ext_key_usage, "OCSPSigning"}};
  pki.make("responder", options);
  pki.make("other", "ca", "DNS:localhost");
  write_ocsp_response(pki.path(), "response", "ca", "ca", "server", OcspStatus::good);
  for (const char* version : {"-tls1_3", "-tls1_2"}) {
    CAPTURE(version);
    const OpensslServer server(pki.path(), "server", {version, "-status_file", "response"});
    for (const Ocsp wanted : {Ocsp::staple, Ocsp::require}) {
      auto settings = pki.settings(server.port());
      settings.ocsp = wanted;
      // s_server reads the file for each connection.
      const auto with = [&](const std::string& ca, const std::string& signer,
                            const std::string& about, OcspStatus status, Period period = {}) {
        write_ocsp_response(pki.path(), "response", ca, signer, about, status, period);
        return diagnose(settings);
      };
      constexpr auto kUnknown = Cause::server_revocation_unknown;
      expect(with("ca", "ca", "server", OcspStatus::good), Cause::none);
      expect(with("ca", "responder", "server", OcspStatus::good), Cause::none);
      expect(with("ca", "ca", "server", OcspStatus::revoked), Cause::server_certificate_revoked,
             "keyCompromise");
      expect(with("ca", "ca", "server", OcspStatus::unknown), kUnknown, "does not know");
      expect(with("ca", "ca", "server", OcspStatus::good, {-7200, -3600}), kUnknown,
             "the clock says 20");
      expect(with("ca", "ca", "server", OcspStatus::good, {3600, 7200}), kUnknown,
             "the clock says 20");
      expect(with("ca", "ca", "server", OcspStatus::good, {-3600, 0}), Cause::none);
      expect(with("ca", "ca", "server", OcspStatus::good, {-2L * 24 * 3600, 0}), kUnknown,
             "a day after");
      expect(with("ca", "ca", "other", OcspStatus::good), kUnknown, "another certificate");
      // Nobody whom the CA asked to.
      expect(with("ca", "client", "server", OcspStatus::good), kUnknown, "signed");
      expect(with("ca", "stranger", "server", OcspStatus::good), kUnknown, "signed");
      write_file(pki.file("response"), "nonsense");
      CHECK_FALSE((diagnose(settings).good() && wanted == Ocsp::require));
    }
    auto settings = pki.settings(server.port());
    write_ocsp_response(pki.path(), "response", "ca", "ca", "server", OcspStatus::revoked);
    expect(diagnose(settings), Cause::none);  // nobody asked
  }
}

TEST_CASE("revocation: no stapled response") {
  const TlsPki pki;
  auto options = issued_by("ca", "DNS:localhost");
  options.extensions = {{NID_tlsfeature, "status_request"}};
  pki.make("promising", options);
  const OpensslServer server(pki.path(), "server");
  const OpensslServer promising(pki.path(), "promising");
  auto settings = pki.settings(server.port());
  settings.ocsp = Ocsp::staple;
  expect(diagnose(settings), Cause::none);
  settings.ocsp = Ocsp::require;
  expect(diagnose(settings), Cause::server_revocation_unknown, "stapled no OCSP response");
  settings = pki.settings(promising.port());
  settings.ocsp = Ocsp::staple;
  expect(diagnose(settings), Cause::server_revocation_unknown, "its certificate demands one");
  settings.ocsp = Ocsp::no;
  expect(diagnose(settings), Cause::none);
}

TEST_CASE("revocation: a response by the openssl program") {
  const TlsPki pki;
  openssl(pki.path(), {"x509", "-in", "server.pem", "-noout", "-serial"});
  const std::string said = read_file(pki.file("openssl.out"));
  const std::string serial = said.substr(said.find('=') + 1, said.find('\n') - said.find('=') - 1);
  const auto answer = [&](const std::string& state) {
    write_file(pki.file("index.txt"), state + "\t" + serial + "\tunknown\t/CN=server\n");
    openssl(pki.path(), {"ocsp", "-issuer", "ca.pem", "-cert", "server.pem", "-reqout", "request"});
    openssl(pki.path(),
            {"ocsp", "-index", "index.txt", "-rsigner", "ca.pem", "-rkey", "ca.key", "-CA",
             "ca.pem", "-reqin", "request", "-respout", "response", "-ndays", "1"});
  };
  answer("V\t491231235959Z\t");
  const OpensslServer server(pki.path(), "server", {"-status_file", "response"});
  auto settings = pki.settings(server.port());
  settings.ocsp = Ocsp::require;
  expect(diagnose(settings), Cause::none);
  answer("R\t491231235959Z\t260101000000Z,keyCompromise");
  expect(diagnose(settings), Cause::server_certificate_revoked, "2026-01-01T00:00:00Z");
}
