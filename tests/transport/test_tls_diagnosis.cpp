#include <doctest/doctest.h>
#include <openssl/core_names.h>
#include <openssl/obj_mac.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/tls1.h>
#include <sys/socket.h>

#include <memory>

#include "revocation_files.h"
#include "tests/fixture/ports.h"
#include "tls_pki.h"
#include "tls_server.h"
#include "transport/tls_diagnosis.h"
#include "transport/tls_versions.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)

namespace {

constexpr long kDay = 24L * 3600;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

using Pki = TlsPki;

CertificateOptions by(const std::string& issuer, const std::string& san = {}) {
  return issued_by(issuer, san);
}

// The cause, and that every text says something and the evidence has `evidence`.
void expect(const Diagnosis& found, Cause cause, const std::vector<std::string>& evidence = {}) {
  const std::string all =
      std::string(name_of(found.cause)) + ": " + found.text() + "; " + found.next_step;
  CHECK_MESSAGE(found.cause == cause, all);
  CHECK_MESSAGE(!found.why.empty(), all);
  CHECK_MESSAGE(!found.next_step.empty(), all);
  for (const auto& part : evidence) CHECK_MESSAGE(contains(found.text(), part), all);
}

using Pkey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Pkey read_key(const std::string& file) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> in(BIO_new_file(file.c_str(), "r"), BIO_free);
  return {PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr), EVP_PKEY_free};
}

void write_key(const std::string& file, EVP_PKEY* key) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new_file(file.c_str(), "w"), BIO_free);
  REQUIRE(PEM_write_bio_PrivateKey(out.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
}

// The key of a file made anew, with what `change` makes of its parts.
void rebuild_key(const std::string& file, const std::function<void(OSSL_PARAM*)>& change) {
  const Pkey key = read_key(file);
  OSSL_PARAM* parts = nullptr;
  REQUIRE(EVP_PKEY_todata(key.get(), EVP_PKEY_KEYPAIR, &parts) == 1);
  change(parts);
  EVP_PKEY* made = nullptr;
  EVP_PKEY_CTX* const context = EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr);
  REQUIRE(EVP_PKEY_fromdata_init(context) == 1);
  REQUIRE(EVP_PKEY_fromdata(context, &made, EVP_PKEY_KEYPAIR, parts) == 1);
  const Pkey owned(made, EVP_PKEY_free);
  write_key(file, made);
  EVP_PKEY_CTX_free(context);
  OSSL_PARAM_free(parts);
}

// Makes an odd number of an RSA key even.
void spoil_rsa_key(const std::string& file, const char* part) {
  rebuild_key(file, [part](OSSL_PARAM* parts) {
    OSSL_PARAM* const number = OSSL_PARAM_locate(parts, part);
    REQUIRE(number != nullptr);
    BIGNUM* value = nullptr;
    REQUIRE(OSSL_PARAM_get_BN(number, &value) == 1);
    REQUIRE(BN_sub_word(value, 1) == 1);
    REQUIRE(OSSL_PARAM_set_BN(number, value) == 1);
    BN_free(value);
  });
}

// The public part stays, so that the key goes on belonging to its certificate.
void swap_ec_private_part(const std::string& file, const std::string& other) {
  BIGNUM* value = nullptr;
  REQUIRE(EVP_PKEY_get_bn_param(read_key(other).get(), OSSL_PKEY_PARAM_PRIV_KEY, &value) == 1);
  rebuild_key(file, [value](OSSL_PARAM* parts) {
    REQUIRE(OSSL_PARAM_set_BN(OSSL_PARAM_locate(parts, OSSL_PKEY_PARAM_PRIV_KEY), value) == 1);
  });
  BN_free(value);
}

const std::vector<std::string> kWantsCertificate = {"-Verify", "2", "-CAfile", "ca.pem",
                                                    "-verify_return_error"};
const std::vector<std::string> kWantsCertificate12 = {
    "-Verify", "2", "-CAfile", "ca.pem", "-verify_return_error", "-tls1_2"};

}  // namespace

TEST_CASE("tls_diagnosis: nothing is wrong") {
  const Pki pki;
  for (const auto& arguments : {kWantsCertificate, kWantsCertificate12}) {
    const OpensslServer server(pki.path(), "server", arguments);
    const auto found = diagnose(pki.settings(server.port()));
    CHECK_MESSAGE(found.good(), found.text());
    CHECK(found.text().empty());
  }
}

TEST_CASE("tls_diagnosis: the network") {
  const Pki pki;
  SUBCASE("a name that does not resolve") {
    auto settings = pki.settings(8883);
    settings.endpoint.host = "nowhere.invalid";
    expect(diagnose(settings), Cause::name_not_resolved, {"nowhere.invalid"});
  }
  SUBCASE("nobody listens") {
    expect(diagnose(pki.settings(free_port())), Cause::no_tcp, {"Connection refused"});
  }
  SUBCASE("TCP only") {
    const Endpoint endpoint{"mqtt", "localhost", static_cast<std::uint16_t>(free_port()), {}};
    expect(diagnose_tcp(endpoint, {}), Cause::no_tcp, {"Connection refused"});
  }
}

TEST_CASE("tls_diagnosis: what answers does not speak TLS") {
  const Pki pki;
  SUBCASE("a broker's plain port") {
    const Listener broker(pki.path(), "mqtt", "");
    expect(diagnose(pki.settings(broker.port())), Cause::not_tls);
  }
  SUBCASE("a web server") {
    const SocketServer server([](int socket) {
      char hello[16];
      (void)::recv(socket, hello, sizeof hello, 0);
      send_text(socket, "HTTP/1.1 400 Bad Request\r\n\r\n");
      (void)read_http_headers(socket);
    });
    expect(diagnose(pki.settings(server.port())), Cause::not_tls, {"wrong version number"});
  }
  SUBCASE("a banner") {
    const SocketServer server([](int socket) {
      send_text(socket, "220 mail.example ESMTP ready\r\n");
      (void)read_http_headers(socket);
    });
    expect(diagnose(pki.settings(server.port())), Cause::not_tls, {"wrong version number"});
  }
  SUBCASE("silence") {
    const SocketServer server([](int socket) { (void)read_http_headers(socket); });
    DiagnosisOptions options;
    options.timeout = std::chrono::milliseconds(300);
    expect(diagnose(pki.settings(server.port()), options), Cause::no_answer, {"does not answer"});
  }
}

TEST_CASE("tls_diagnosis: our own set-up, before anybody is asked") {
  const Pki pki;
  const SocketServer nobody([](int) {});
  auto settings = pki.settings(nobody.port());
  SUBCASE("the certificate is expired") {
    auto options = by("ca");
    options.valid_from = -2 * kDay;
    options.valid_until = -kDay;
    pki.make("old", options);
    pki.use(settings, "old");
    expect(diagnose(settings), Cause::own_certificate_expired,
           {"CN=old", "valid from 20", "the clock says 20"});
  }
  SUBCASE("the certificate is not yet valid") {
    auto options = by("ca");
    options.valid_from = kDay;
    options.valid_until = 2 * kDay;
    pki.make("early", options);
    pki.use(settings, "early");
    expect(diagnose(settings), Cause::own_certificate_not_yet_valid,
           {"CN=early", "valid from 20", "the clock says 20"});
  }
  SUBCASE("the key belongs to another certificate") {
    settings.key_path = settings.key_name = pki.file("stranger.key");
    expect(diagnose(settings), Cause::own_key_mismatch, {"stranger.key", "CN=client"});
  }
  SUBCASE("the key is of another kind") {
    openssl(pki.path(), {"genpkey", "-algorithm", "RSA", "-out", "rsa.key"});
    settings.key_path = settings.key_name = pki.file("rsa.key");
    expect(diagnose(settings), Cause::own_key_mismatch, {"rsa.key"});
  }
  SUBCASE("the key is a reference that nobody serves") {
    write_file(pki.file("reference.key"),
               "-----BEGIN HWID KEY REFERENCE-----\nAAAA\n-----END HWID KEY REFERENCE-----\n");
    settings.key_path = settings.key_name = pki.file("reference.key");
    expect(diagnose(settings), Cause::own_key_unusable, {"reference.key"});
  }
  SUBCASE("the certificate is none") {
    settings.cert_path = settings.cert_name = pki.file("client.key");
    expect(diagnose(settings), Cause::own_certificate_unusable, {"client.key"});
  }
  SUBCASE("the CA file is none") {
    settings.ca_file = pki.file("client.key");
    expect(diagnose(settings), Cause::own_settings, {"client.key"});
  }
  SUBCASE("the CRL is none") {
    settings.crl_file = pki.file("ca.pem");
    expect(diagnose(settings), Cause::own_settings, {"CRL", "ca.pem"});
  }
  SUBCASE("the cipher list is none") {
    settings.ciphers = "NOSUCHCIPHER";
    expect(diagnose(settings), Cause::own_settings, {"NOSUCHCIPHER"});
  }
  CHECK(nobody.connections() == 0);
}

TEST_CASE("tls_diagnosis: credentials alone") {
  const Pki pki;
  DeviceConfig config;
  CHECK(diagnose_credentials(config).good());
  config.cert = pki.file("client.pem");
  config.key = pki.file("client.key");
  CHECK(diagnose_credentials(config).good());
  SUBCASE("a missing key") {
    config.key = pki.file("missing.key");
    const auto found = diagnose_credentials(config);
    CHECK(found.cause == Cause::own_key_unusable);
    CHECK_MESSAGE(contains(found.why, "missing.key"), found.why);
  }
  SUBCASE("a key behind a URI that no provider serves, and no PIN in the text") {
    config.key = "nobody:object=k?pin-value=4711";
    const auto found = diagnose_credentials(config);
    CHECK(found.cause == Cause::own_key_unusable);
    CHECK_MESSAGE(contains(found.why, "nobody:object=k"), found.why);
    CHECK_FALSE(contains(found.why, "4711"));
  }
  SUBCASE("a missing certificate") {
    config.cert = pki.file("missing.pem");
    CHECK(diagnose_credentials(config).cause == Cause::own_certificate_unusable);
  }
  SUBCASE("another key") {
    config.key = pki.file("stranger.key");
    CHECK(diagnose_credentials(config).cause == Cause::own_key_mismatch);
  }
}

TEST_CASE("tls_diagnosis: what we refuse about the server") {
  const Pki pki;
  const auto diagnosis_of = [&](const std::string& name, const CertificateOptions& options) {
    pki.make(name, options);
    const OpensslServer server(pki.path(), name);
    return diagnose(pki.settings(server.port()));
  };
  SUBCASE("a CA that we do not know") {
    const auto found = diagnosis_of("foreign", by("other-ca", "DNS:localhost"));
    expect(found, Cause::server_unknown_ca, {"CN=foreign issued by CN=other-ca", "has CN=ca"});
    CHECK(side_of(found.cause) == Side::we);
  }
  SUBCASE("a CA of the name that we know, with another key") {
    std::filesystem::create_directory(pki.path() / "new");
    make_certificate(pki.path() / "new", "ca", "");
    make_certificate(pki.path() / "new", "server", "ca", "DNS:localhost");
    const OpensslServer server(pki.path() / "new", "server");
    expect(diagnose(pki.settings(server.port())), Cause::server_unknown_ca);
  }
  SUBCASE("signed by itself") {
    expect(diagnosis_of("selfmade", by("", "DNS:localhost")), Cause::server_unknown_ca,
           {"self-signed"});
  }
  SUBCASE("expired") {
    auto options = by("ca", "DNS:localhost");
    options.valid_from = -2 * kDay;
    options.valid_until = -kDay;
    expect(diagnosis_of("old", options), Cause::server_certificate_expired,
           {"CN=old", "valid from 20", "the clock says 20"});
  }
  SUBCASE("not yet valid") {
    auto options = by("ca", "DNS:localhost");
    options.valid_from = kDay;
    options.valid_until = 2 * kDay;
    expect(diagnosis_of("early", options), Cause::server_certificate_not_yet_valid,
           {"CN=early", "valid from 20", "the clock says 20"});
  }
  SUBCASE("another name") {
    expect(diagnosis_of("named", by("ca", "DNS:a.example,DNS:*.b.example,IP:192.0.2.1")),
           Cause::server_name_mismatch,
           {"localhost", "DNS:a.example, DNS:*.b.example, IP:192.0.2.1"});
  }
  SUBCASE("no name") {
    expect(diagnosis_of("nameless", by("ca")), Cause::server_name_mismatch, {"CN=nameless"});
  }
  SUBCASE("a purpose that is not a server's") {
    auto options = by("ca", "DNS:localhost");
    options.extensions = {{NID_ext_key_usage, "clientAuth"}};
    expect(diagnosis_of("wrong-use", options), Cause::server_certificate_bad, {"purpose"});
  }
}

TEST_CASE("tls_diagnosis: addresses are compared with the certificate's addresses") {
  const Pki pki;
  pki.make("numbered", "ca", "IP:127.0.0.1,DNS:elsewhere");
  const OpensslServer numbered(pki.path(), "numbered");
  auto settings = pki.settings(numbered.port());
  settings.endpoint.host = "127.0.0.1";
  CHECK_MESSAGE(diagnose(settings).good(), diagnose(settings).text());
  const OpensslServer named(pki.path(), "server");
  settings = pki.settings(named.port());
  settings.endpoint.host = "127.0.0.1";
  expect(diagnose(settings), Cause::server_name_mismatch, {"127.0.0.1", "DNS:localhost"});
}

TEST_CASE("tls_diagnosis: a chain without its intermediate") {
  const Pki pki;
  auto root = by("");
  root.organization = "Example";
  pki.make("root", root);
  auto intermediate = by("root");
  intermediate.organization = "Example";
  intermediate.ca = true;
  pki.make("intermediate", intermediate);
  pki.make("below", "intermediate", "DNS:localhost");
  const OpensslServer without(pki.path(), "below");
  auto settings = pki.settings(without.port());
  settings.ca_file = pki.file("root.pem");
  SUBCASE("told by the organization") {
    expect(diagnose(settings), Cause::server_chain_incomplete,
           {"CN=below issued by CN=intermediate,O=Example", "CN=root"});
  }
  SUBCASE("told by the issuer's issuer") {
    auto options = by("intermediate", "DNS:localhost");
    options.extensions = {{NID_authority_key_identifier, "issuer:always"}};
    pki.make("telling", options);
    const OpensslServer telling(pki.path(), "telling");
    settings.endpoint.port = static_cast<std::uint16_t>(telling.port());
    expect(diagnose(settings), Cause::server_chain_incomplete);
  }
  SUBCASE("with it all is well") {
    const OpensslServer with(pki.path(), "below", {"-cert_chain", "intermediate.pem"});
    settings.endpoint.port = static_cast<std::uint16_t>(with.port());
    const auto found = diagnose(settings);
    CHECK_MESSAGE(found.good(), found.text());
  }
}

TEST_CASE("tls_diagnosis: what the server refuses about us, in TLS 1.3 and 1.2") {
  const Pki pki;
  for (const auto& arguments : {kWantsCertificate, kWantsCertificate12}) {
    CAPTURE(arguments.back());
    const OpensslServer server(pki.path(), "server", arguments);
    auto settings = pki.settings(server.port());
    pki.use(settings, "stranger");
    auto found = diagnose(settings);
    expect(found, Cause::client_unknown_ca, {"alert 48", "CN=stranger", "issued by CN=other-ca"});
    CHECK(side_of(found.cause) == Side::server);

    for (auto* text :
         {&settings.cert_path, &settings.cert_name, &settings.key_path, &settings.key_name})
      text->clear();
    expect(diagnose(settings), Cause::client_certificate_required, {"TLS alert"});

    auto options = by("ca");
    options.extensions = {{NID_ext_key_usage, "serverAuth"}};
    pki.make("wrong-use", options);
    pki.use(settings, "wrong-use");
    expect(diagnose(settings), Cause::client_certificate_bad, {"alert 43", "CN=wrong-use"});
  }
}

TEST_CASE("tls_diagnosis: a server that has us revoked") {
  const Pki pki;
  append_crl(pki.path(), "crl.pem", "ca", {"client"});
  auto arguments = kWantsCertificate;
  arguments.insert(arguments.end(), {"-CRL", "crl.pem", "-crl_check"});
  const OpensslServer server(pki.path(), "server", arguments);
  expect(diagnose(pki.settings(server.port())), Cause::client_certificate_revoked,
         {"alert 44", "CN=client"});
}

TEST_CASE("tls_diagnosis: a key that opens, but does not sign well") {
  const Pki pki;
  const OpensslServer server(pki.path(), "server", kWantsCertificate);
  auto settings = pki.settings(server.port());
  openssl(pki.path(), {"genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out",
                       "signer.key"});
  auto options = by("ca");
  options.key = "signer";
  pki.make("signer", options);
  pki.use(settings, "signer");
  CHECK(diagnose(settings).good());
  SUBCASE("it fails") {
    spoil_rsa_key(pki.file("signer.key"), OSSL_PKEY_PARAM_RSA_FACTOR1);  // libcrypto stumbles at it
    const auto found = diagnose(settings);
    expect(found, Cause::own_key_unusable, {"signer.key does not sign"});
    CHECK(side_of(found.cause) == Side::we);
  }
  SUBCASE("the signature is wrong") {
    openssl(pki.path(), {"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
                         "-out", "other.key"});
    swap_ec_private_part(pki.file("client.key"), pki.file("other.key"));
    pki.use(settings, "client");
    expect(diagnose(settings), Cause::client_certificate_bad, {"alert 51", "CN=client"});
  }
}

TEST_CASE("tls_diagnosis: a server that closes without asking for a certificate") {
  const Pki pki;
  const SocketServer server(report_hello(pki.path(), [](const SeenHello&) {}));
  expect(diagnose(pki.settings(server.port())), Cause::closed, {"after the TLS handshake"});
}

TEST_CASE("tls_diagnosis: a server whose clock differs") {
  const Pki pki;
  // s_server's -attime is the server's clock.
  const auto at = [&](long seconds) {
    auto arguments = kWantsCertificate;
    arguments.insert(arguments.end(), {"-attime", std::to_string(std::time(nullptr) + seconds)});
    const OpensslServer server(pki.path(), "server", arguments);
    return diagnose(pki.settings(server.port()));
  };
  expect(at(10 * kDay), Cause::client_certificate_expired,
         {"alert 45", "CN=client", "the clock says 20"});
  expect(at(-10 * kDay), Cause::client_certificate_bad, {"alert 42", "valid from 20"});
}

TEST_CASE("tls_diagnosis: a server that closes after our certificate") {
  const Pki pki;
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    CAPTURE(version);
    const SocketServer server(close_after_handshake(pki.path(), version));
    expect(diagnose(pki.settings(server.port())), Cause::client_not_accepted,
           {"registered", "CN=client"});
  }
}

TEST_CASE("tls_diagnosis: no TLS version in common") {
  const Pki pki;
  const OpensslServer server(pki.path(), "server", {"-tls1_2"});
  auto settings = pki.settings(server.port());
  settings.minimum_version = TLS1_3_VERSION;
  expect(diagnose(settings), Cause::protocol_version, {"alert 70"});
}

// Without MinProtocol a client offers what its security level then has no signatures for.
TEST_CASE("tls_diagnosis: a server that has only TLS 1.1") {
  const Pki pki;
  const OpensslServer server(pki.path(), "server", {"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"});
  auto settings = pki.settings(server.port());
  // A newer OpenSSL does not offer it, and is told so.
  const bool is_offered = !contains(diagnose(settings).text(), "alert 70");
  if (is_offered)
    expect(diagnose(settings), Cause::protocol_version, {"TLS 1.1", "security level"});
  settings.ca_file = pki.file("client.pem");  // the version comes before the certificate
  expect(diagnose(settings), Cause::protocol_version, {is_offered ? "TLS 1.1" : "alert 70"});
  CHECK(versions_text(versions_of_server(settings)) == "TLS 1.1");
  CHECK(versions_text(versions_of_client(settings)) == "TLS 1.2, TLS 1.3");
  settings.security_level = 0;
  CHECK(versions_of_client(settings).size() == 4);
  settings.minimum_version = TLS1_3_VERSION;
  CHECK(versions_text(versions_of_client(settings)) == "TLS 1.3");
}

TEST_CASE("tls_diagnosis: no cipher in common") {
  const Pki pki;
  const OpensslServer server(pki.path(), "server",
                             {"-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"});
  auto settings = pki.settings(server.port());
  settings.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
  expect(diagnose(settings), Cause::cipher_mismatch, {"alert 40", "ECDHE-ECDSA-AES128-GCM-SHA256"});
}

TEST_CASE("tls_diagnosis: no ALPN name in common") {
  const Pki pki;
  const OpensslServer server(pki.path(), "server", {"-alpn", "x-amzn-mqtt-ca"});
  auto settings = pki.settings(server.port());
  settings.alpn = {"mqtt"};
  expect(diagnose(settings), Cause::alpn_mismatch, {"alert 120, no application protocol"});
  settings.alpn = {"mqtt", "x-amzn-mqtt-ca"};
  CHECK(diagnose(settings).good());
}

TEST_CASE("tls_diagnosis: a name that the server does not know") {
  const Pki pki;
  const OpensslServer server(pki.path(), "server",
                             {"-servername", "elsewhere", "-cert2", "server.pem", "-key2",
                              "server.key", "-servername_fatal"});
  expect(diagnose(pki.settings(server.port())), Cause::name_unknown, {"alert 112"});
}

TEST_CASE("tls_diagnosis: every cause has its name") {
  for (int i = 0; i <= static_cast<int>(Cause::other); ++i) {
    const auto cause = static_cast<Cause>(i);
    CHECK((cause == Cause::none) == (std::string(name_of(cause)) == "none"));
  }
}
