#include <doctest/doctest.h>

#include <cstdlib>

#include "client.h"
#include "revocation_files.h"
#include "tests/fixture/ports.h"
#include "tls_server.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)

namespace {

std::string at(int port) { return "localhost:" + std::to_string(port); }

std::string round_trip(const DeviceConfig& config) {
  return error_text([&] {
    const auto transport = open(config);
    get(transport->connect());
    get(transport->publish({"a", "x"}));
  });
}

class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    ::setenv(name, value.c_str(), 1);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { ::unsetenv(name_); }

 private:
  const char* name_;
};

}  // namespace

TEST_CASE("tls options: mqtts://, wss:// and mqtt:// through a proxy") {
  const Broker broker;
  const auto& directory = broker.directory().path();
  const Listener web(directory, "websockets", "server");
  const Listener plain(directory, "mqtt", "");
  const HttpProxy open_proxy(directory);
  std::filesystem::create_directory(directory / "locked");
  const HttpProxy locked_proxy(directory / "locked", "device", "geheim");
  const std::pair<const char*, int> endpoints[] = {
      {"mqtts://", broker.port()}, {"wss://", web.port()}, {"mqtt://", plain.port()}};
  for (const auto& endpoint : endpoints) {
    CAPTURE(std::string(endpoint.first));
    auto config = client_config(broker, "proxied");
    config.endpoint = endpoint.first + at(endpoint.second);
    if (config.endpoint.rfind("mqtt:", 0) == 0) {
      for (auto* text : {&config.ca_file, &config.cert, &config.key}) text->clear();
      config.allow_plaintext = true;
    }
    const std::string target = "CONNECT " + at(endpoint.second);
    config.proxy = "http://" + at(open_proxy.port());
    CHECK(round_trip(config) == "no error");
    CHECK(eventually([&] { return contains(open_proxy.log(), target); }));
    config.proxy = "http://device:geh%65im@" + at(locked_proxy.port());
    CHECK(round_trip(config) == "no error");
    CHECK(eventually([&] { return contains(locked_proxy.log(), target); }));

    config.proxy = "http://device:falsch@" + at(locked_proxy.port());
    auto error = round_trip(config);
    CHECK_MESSAGE(contains(error, "check user and password in proxy"), error);
    CHECK_FALSE(contains(error, "falsch"));
    config.proxy = "http://" + at(free_port());
    error = round_trip(config);
    CHECK_MESSAGE(contains(error, "no TCP connection to the proxy"), error);
  }
}

TEST_CASE("tls options: what the server hears through a proxy is its own name") {
  const Broker broker;
  Log<SeenHello> hellos;
  const SocketServer server(
      report_hello(broker.directory().path(), [&](const SeenHello& hello) { hellos.add(hello); }));
  const HttpProxy proxy(broker.directory().path());
  auto config = client_config(broker, "named");
  config.endpoint = "mqtts://" + at(server.port());
  config.alpn = {"mqtt", "x-amzn-mqtt-ca"};
  for (const bool proxied : {false, true}) {
    config.proxy = proxied ? "http://127.0.0.1:" + std::to_string(proxy.port()) : "";
    CHECK(connect_error(config) != "no error");
  }
  const auto seen = hellos.now();
  CHECK(seen.size() == 4);  // Paho's and our own, each way
  for (const auto& hello : seen) {
    CHECK(hello.name == "localhost");
    CHECK(hello.alpn == std::string("\x04mqtt\x0ex-amzn-mqtt-ca"));
  }
}

TEST_CASE("tls options: a proxy of the environment is not obeyed by accident") {
  const Broker broker;
  auto config = client_config(broker, "env");
  const Variable https("https_proxy", "http://user:geheim@localhost:1");
  const auto error = round_trip(config);
  // From 1.3.13 on Paho C does not look at it, and all is well.
  CHECK_MESSAGE(
      (error == "no error" || (contains(error, "key proxy") && contains(error, "https_proxy"))),
      error);
  CHECK_FALSE(contains(error, "geheim"));
  const HttpProxy proxy(broker.directory().path());
  config.proxy = "http://" + at(proxy.port());
  CHECK(round_trip(config) == "no error");
}

TEST_CASE("tls options: crl-file is looked at before each connect") {
  Broker broker;
  const auto& directory = broker.directory().path();
  auto config = client_config(broker, "crl");
  config.crl_file = broker.file("crl.pem");
  auto error = connect_error(config);
  CHECK_MESSAGE(contains(error, "crl.pem"), error);
  append_crl(directory, "crl.pem", "ca", {"client"});
  States states;
  const auto transport = open(config);
  transport->on_state(into(states));
  get(transport->connect());
  get(transport->publish({"a", "x"}));

  std::filesystem::remove(directory / "crl.pem");
  append_crl(directory, "crl.pem", "ca", {"server"});
  broker.stop();
  broker.start();
  const auto seen =
      states.wait([](const auto& changes) { return contains(changes.back().reason, "revoked"); });
  CHECK_MESSAGE(contains(seen.back().reason, "CN=server"), seen.back().reason);
  CHECK(seen.back().state == State::interrupted);

  std::filesystem::remove(directory / "crl.pem");
  append_crl(directory, "crl.pem", "ca", {});
  CHECK(reaches(states, State::resumed));
  config.crl_file = broker.file("crl.pem");
  append_crl(directory, "old.pem", "ca", {}, {-7200, -3600});
  config.crl_file = broker.file("old.pem");
  error = connect_error(config);
  CHECK_MESSAGE(contains(error, "CRL has expired"), error);
}

TEST_CASE("tls options: ocsp") {
  const Broker broker;  // which staples nothing
  auto config = client_config(broker, "ocsp");
  config.ocsp = "staple";
  CHECK(round_trip(config) == "no error");
  config.ocsp = "require";
  const auto error = round_trip(config);
  CHECK_MESSAGE(contains(error, "stapled no OCSP response"), error);
}

TEST_CASE("tls options: the CA may be a directory") {
  const Broker broker;
  const auto directory = broker.directory() / "cas";
  std::filesystem::create_directory(directory);
  std::filesystem::copy(broker.file("ca.pem"), directory / "ca.pem");
  auto config = client_config(broker, "ca-path");
  config.ca_file.clear();
  config.ca_path = directory.string();
  const auto error = round_trip(config);
  CHECK_MESSAGE(contains(error, directory.string()), error);  // not yet rehashed
  openssl(directory, {"rehash", "."});
  CHECK(round_trip(config) == "no error");
}

TEST_CASE("tls options: the device's chain is sent") {
  const Broker broker;
  const auto& directory = broker.directory().path();
  CertificateOptions options;
  options.issuer = "ca";
  options.ca = true;
  make_certificate(directory, "intermediate", options);
  make_certificate(directory, "below", "intermediate");
  auto config = client_config(broker, "chain");
  config.cert = broker.file("below.pem");
  config.key = broker.file("below.key");
  const auto error = round_trip(config);
  CHECK_MESSAGE(contains(error, "does not know the CA of our certificate"), error);
  CHECK_MESSAGE(contains(error, "issued by CN=intermediate"), error);
  write_file(broker.file("chain.pem"),
             read_file(broker.file("below.pem")) + read_file(broker.file("intermediate.pem")));
  config.cert = broker.file("chain.pem");
  CHECK(round_trip(config) == "no error");
  config.cert = "file://" + broker.file("chain.pem");
  config.key = "file:" + broker.file("below.key");
  CHECK(round_trip(config) == "no error");
}

TEST_CASE("tls options: a host name or address that the certificate has not is never accepted") {
  const Broker broker;
  const auto& directory = broker.directory().path();
  make_certificate(directory, "numbered", "ca", "IP:127.0.0.1");
  make_certificate(directory, "named", "ca", "DNS:127.0.0.1,DNS:elsewhere");
  const Listener numbered(directory, "mqtt", "numbered");
  const Listener named(directory, "mqtt", "named");
  auto config = client_config(broker, "names");
  config.endpoint = "mqtts://127.0.0.1:" + std::to_string(numbered.port());
  CHECK(round_trip(config) == "no error");
  config.endpoint = "mqtts://localhost:" + std::to_string(numbered.port());
  auto error = round_trip(config);
  CHECK_MESSAGE(contains(error, "it has IP:127.0.0.1"), error);
  config.endpoint = "mqtts://localhost:" + std::to_string(named.port());
  error = round_trip(config);
  CHECK_MESSAGE(contains(error, "DNS:elsewhere"), error);
}

TEST_CASE("tls options: what conf/openssl.cnf shows sets the least version and the suites") {
  const Broker broker;
  const auto& directory = broker.directory().path();
  std::string example = read_file(std::string(HWID_TEST_CONF_DIR) + "/openssl.cnf");
  example.erase(0, example.find("# [ssl_sect]"));
  example.erase(example.find("\n\n") + 1);
  for (auto at = example.find("# "); at != std::string::npos; at = example.find("\n# "))
    example.erase(at == 0 ? 0 : at + 1, 2);
  const auto version = example.find("TLSv1.2");
  REQUIRE(version != std::string::npos);
  example.replace(version, 7, "TLSv1.3");
  write_file(broker.file("openssl.cnf"),
             "openssl_conf = init\n[init]\nssl_conf = ssl_sect\n" + example);

  const auto publish = [&](int port) {
    write_file(broker.file("device.conf"),
               "endpoint = mqtts://" + at(port) + "\nclient-id = min\nmin-tls = 1.3\nca-file = " +
                   broker.file("ca.pem") + "\ncert = " + broker.file("client.pem") +
                   "\nkey = " + broker.file("client.key") + "\n");
    std::filesystem::remove(directory / "err");
    Process process({"/usr/bin/env", "OPENSSL_CONF=" + broker.file("openssl.cnf"),
                     HWID_TEST_PUBLISH, "-c", broker.file("device.conf"), "-t", "a", "-m", "x"},
                    directory / "out", directory / "err");
    const int code = process.wait();
    return std::to_string(code) + " " + read_file(broker.file("err"));
  };
  CHECK(publish(broker.port()).rfind("0 ", 0) == 0);
  const OpensslServer old(directory, "server", {"-tls1_2"});
  const auto error = publish(old.port());
  CHECK_MESSAGE(contains(error, "no TLS version in common"), error);
  const OpensslServer other(directory, "server", {"-ciphersuites", "TLS_AES_128_CCM_SHA256"});
  const auto no_suite = publish(other.port());
  CHECK_MESSAGE(contains(no_suite, "no cipher, group or signature in common"), no_suite);
}

TEST_CASE("tls options: min-tls says which line of openssl.cnf is missing") {
  const Broker broker;
  auto config = client_config(broker, "min-tls");
  config.min_tls = TlsVersion::v1_3;
  const auto error = round_trip(config);
  CHECK_MESSAGE(contains(error, "MinProtocol = TLSv1.3"), error);
}

TEST_CASE("tls options: a key of another kind than the certificate stops us before we connect") {
  const Broker broker;
  const auto& directory = broker.directory().path();
  openssl(directory,
          {"genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "rsa.key"});
  const SocketServer server(report_hello(directory, [](const SeenHello&) {}));
  for (const char* scheme : {"mqtts://", "wss://"}) {
    auto config = client_config(broker, "mixed");
    config.endpoint = scheme + at(server.port());
    config.key = broker.file("rsa.key");
    const auto error = connect_error(config);
    CHECK_MESSAGE(contains(error, "rsa.key does not belong to the certificate"), error);
  }
  CHECK(server.connections() == 0);
}
