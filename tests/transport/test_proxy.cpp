#include <doctest/doctest.h>
#include <hwid/transport_error.h>

#include "tests/fixture/ports.h"
#include "tls_pki.h"
#include "tls_server.h"
#include "transport/proxy.h"
#include "transport/tls_diagnosis.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Proxy proxy_of(const std::string& value) {
  DeviceConfig config;
  config.proxy = value;
  return parse_proxy(config);
}

Proxy proxy_at(int port) { return proxy_of("http://localhost:" + std::to_string(port)); }

}  // namespace

TEST_CASE("proxy: what a value means") {
  CHECK_FALSE(proxy_of("").used());
  const auto plain = proxy_of("http://proxy.example:3128");
  CHECK(plain.host == "proxy.example");
  CHECK(plain.port == 3128);
  CHECK(plain.user_info.empty());
  const auto full = proxy_of("http://us%40er:p%3Aa%25ss@[::1]:8080/");
  CHECK(full.authority() == "[::1]:8080");
  CHECK(full.authorization() == "us@er:p:a%ss");
}

TEST_CASE("proxy: a bad value is refused, and not shown") {
  for (const char* bad : {"proxy:3128",
                          "https://u:geheim@p:3128",
                          "socks5://p:1080",
                          "http://",
                          "http://p",
                          "http://:3128",
                          "http://p:0",
                          "http://p:x",
                          "http://p:3128/path",
                          "http://u:ge%heim@p:3128",
                          "http://u:geheim%4@p:3128",
                          "http://u:geheim%@p:3128",
                          "http://u:ge heim@p:3128",
                          "http://u:geheim@x@p:3128",
                          "http://@p:3128",
                          "http://u:geheim\r\n@p:3128",
                          "http://u:geheim@pro;xy:3128",
                          "http://u:geheim@pro%78y:3128",
                          "http://u:geheim@p\xc3\xb6:3128",
                          "http://u:geheim@[p]:3128",
                          "http://u:geheim@[::1%25lo]:3128",
                          "http://u:geheim@[]:3128"}) {
    CAPTURE(bad);
    try {
      proxy_of(bad);
      FAIL("no error");
    } catch (const Error& error) {
      CHECK_MESSAGE(contains(error.what(), "key proxy"), error.what());
      CHECK_FALSE(contains(error.what(), "heim"));
    }
  }
}

TEST_CASE("proxy: the way to a server") {
  const TlsPki pki;
  const OpensslServer server(pki.path(), "server");
  const HttpProxy proxy(pki.path());
  auto settings = pki.settings(server.port());
  settings.proxy = proxy_at(proxy.port());
  const auto found = diagnose(settings);
  CHECK_MESSAGE(found.good(), found.text());
  const std::string target = "CONNECT localhost:" + std::to_string(server.port());
  CHECK(eventually([&] { return contains(proxy.log(), target); }));
  // The proxy does not stand between us and the server's certificate.
  settings.ca_file = pki.file("other-ca.pem");
  CHECK(diagnose(settings).cause == Cause::server_unknown_ca);
}

TEST_CASE("proxy: a user and a password") {
  const TlsPki pki;
  const OpensslServer server(pki.path(), "server");
  const HttpProxy proxy(pki.path(), "device", "geheim");
  auto settings = pki.settings(server.port());
  const std::string place = "localhost:" + std::to_string(proxy.port());
  settings.proxy = proxy_of("http://device:geh%65im@" + place);
  auto found = diagnose(settings);
  CHECK_MESSAGE(found.good(), found.text());
  for (const std::string& who : {std::string("http://"), std::string("http://device:falsch@")}) {
    settings.proxy = proxy_of(who + place);
    found = diagnose(settings);
    CHECK(found.cause == Cause::proxy_refused);
    CHECK_MESSAGE(contains(found.text(), place), found.text());
    CHECK_FALSE(contains(found.text() + found.next_step, "falsch"));
  }
}

TEST_CASE("proxy: no way to the server") {
  const TlsPki pki;
  SUBCASE("no proxy there") {
    auto settings = pki.settings(8883);
    settings.proxy = proxy_at(free_port());
    const auto found = diagnose(settings);
    CHECK(found.cause == Cause::no_tcp);
    CHECK_MESSAGE(contains(found.text(), "the proxy localhost:"), found.text());
  }
  SUBCASE("a proxy whose name does not resolve") {
    auto settings = pki.settings(8883);
    settings.proxy = proxy_of("http://nowhere.invalid:3128");
    const auto found = diagnose(settings);
    CHECK(found.cause == Cause::name_not_resolved);
    CHECK_MESSAGE(contains(found.text(), "the proxy nowhere.invalid"), found.text());
  }
  SUBCASE("nobody behind the proxy") {
    const HttpProxy proxy(pki.path());
    const Endpoint endpoint{"mqtt", "localhost", static_cast<std::uint16_t>(free_port()), {}};
    const auto found = diagnose_tcp(endpoint, proxy_at(proxy.port()));
    CHECK(found.cause == Cause::proxy_refused);
    CHECK_MESSAGE(contains(found.text(), "it answered: HTTP/1.1 500"), found.text());
  }
}

TEST_CASE("proxy: hostile answers") {
  const std::pair<std::string, std::string> cases[] = {
      {"", "without an answer"},
      {"SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP: SSH-2.0-OpenSSH"},
      {"HTTP/1.1\r\n\r\n", "does not speak HTTP"},
      {"HTTP/1.1 403 \x1b[31mForbidden\r\n\r\n", "403 ?[31mForbidden"},
      {"HTTP/1.1 407 Who?\r\n\r\n", "407"},
      {"HTTP/1.1 200 OK\r\n" + std::string(100000, 'x') + "\r\n\r\n", "has no end"},
  };
  for (const auto& item : cases) {
    CAPTURE(item.second);
    const SocketServer proxy([&](int socket) {
      (void)read_http_headers(socket);
      send_text(socket, item.first);
    });
    const auto found = diagnose_tcp({"mqtts", "h", 1, {}}, proxy_at(proxy.port()));
    CHECK(found.cause == Cause::proxy_refused);
    CHECK_MESSAGE(contains(found.text(), item.second), found.text());
  }
}

TEST_CASE("proxy: the tunnel may begin in pieces") {
  const SocketServer proxy([](int socket) {
    const auto request = read_http_headers(socket);
    const bool good = contains(request, "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n") &&
                      contains(request, "Proxy-Authorization: Basic YTpi\r\n");
    for (const char c :
         std::string(good ? "HTTP/1.0 200 OK\r\nX: y\r\n\r\n" : "HTTP/1.0 400 \r\n\r\n"))
      send_text(socket, std::string(1, c));
  });
  const auto found = diagnose_tcp({"mqtts", "h", 1, {}},
                                  proxy_of("http://a:b@localhost:" + std::to_string(proxy.port())));
  CHECK_MESSAGE(found.good(), found.text());
}
