#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>

#include "client.h"
#include "cloud/stand_in.h"
#include "revocation_files.h"
#include "tls_server.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)
using nlohmann::json;

namespace {

constexpr std::chrono::seconds kSoon{10};
const std::string kTopic = "mqtt-mtls-pkcs-test-topic/req";

// A plain web server, which needs no cloud.
class WebServer {
 public:
  WebServer() : server_((make_certificates(directory_.path()), directory_), {"--plain"}) {}
  HttpsServer* operator->() { return &server_; }
  DeviceConfig config(const std::string& path = "/in") const {
    DeviceConfig config;
    config.endpoint = "https://localhost:" + std::to_string(server_.port()) + path;
    config.client_id = "line-7";
    config.ca_file = file("ca.pem");
    config.cert = file("line-7.pem");
    config.key = file("line-7.key");
    return config;
  }
  std::filesystem::path path() const { return directory_.path(); }
  std::string file(const std::string& name) const { return (directory_ / name).string(); }

 private:
  static void make_certificates(const std::filesystem::path& directory) {
    make_certificate(directory, "ca", "");
    make_certificate(directory, "other-ca", "");
    make_certificate(directory, "server", "ca", "DNS:localhost");
    make_certificate(directory, "line-7", "ca");
    make_certificate(directory, "line-8", "ca");
    make_certificate(directory, "stranger", "other-ca");
  }
  TemporaryDirectory directory_;
  HttpsServer server_;
};

std::unique_ptr<Transport> connected(const DeviceConfig& config) {
  auto transport = open(config);
  get(transport->connect());
  return transport;
}

}  // namespace

TEST_CASE("https: a request is a POST below the endpoint's path, its answer the body") {
  WebServer server;
  const auto transport = connected(server.config());
  Message message{"a b/../c#", "hello"};
  message.topic = "a b/../c";
  message.properties.content_type = "text/plain";
  const auto answer = get(transport->request(message, kSoon));
  CHECK(answer.properties.content_type == "application/json");
  const auto seen = json::parse(answer.payload);
  CHECK(seen["path"] == "/in/a%20b/../c");
  CHECK(seen["type"] == "text/plain");
  CHECK(seen["payload"] == "hello");
  CHECK(seen["client"] == "line-7");
}

TEST_CASE("https: messages go out in order, over one connection") {
  WebServer server;
  const auto transport = connected(server.config(""));
  std::vector<std::future<Delivery>> deliveries;
  constexpr int kMany = 20;
  deliveries.reserve(kMany);
  for (int i = 0; i < kMany; ++i)
    deliveries.push_back(transport->publish({"t/" + std::to_string(i), "x"}));
  for (auto& delivery : deliveries) get(std::move(delivery));
  const auto lines = server->log();
  REQUIRE(lines.size() == kMany);
  std::set<std::string> connections;
  for (int i = 0; i < kMany; ++i) {
    const auto& line = lines[static_cast<std::size_t>(i)];
    CHECK(contains(line, " POST /t/" + std::to_string(i) + " 200"));
    connections.insert(line.substr(0, line.find(' ')));
  }
  CHECK(connections.size() == 1);
}

TEST_CASE("https: at least once survives an overloaded server, one that drops, one that is away") {
  WebServer server;
  const auto transport = open(server.config());
  States states;
  transport->on_state(into(states));
  get(transport->connect());
  server->faults("503\n429\ndrop\n");
  get(transport->publish({"t", "x"}));
  REQUIRE(reaches(states, State::interrupted));
  CHECK(reaches(states, State::resumed));
  CHECK(contains(states.now()[2].reason, "503 (a fault of the test)"));

  server->stop();
  auto delivery = transport->publish({"t", "x"});
  REQUIRE(reaches(states, State::interrupted, 2));
  server->start();
  get(std::move(delivery));
  CHECK(reaches(states, State::resumed, 2));
  transport->close(kSoon);
  CHECK(reaches(states, State::closed));
}

TEST_CASE("https: QoS 0 is tried once") {
  WebServer server;
  const auto transport = connected(server.config());
  server->faults("503\n");
  const auto error = error_text([&] { get(transport->publish({"t", "x", Qos::at_most_once})); });
  CHECK_MESSAGE(contains(error, "503"), error);
  get(transport->publish({"t", "x", Qos::at_most_once}));
}

TEST_CASE("https: a no of the server is an error with its words, and no reason to try again") {
  WebServer server;
  const auto transport = connected(server.config());
  const std::pair<const char*, const char*> cases[] = {
      {"403\n", "the server answered 403 (a fault of the test); check what the server lets"},
      {"404\n", "check the endpoint's path and the topic"},
      {"413\n", "send less"},
      {"redirect https://elsewhere.example/\n", "it leads to https://elsewhere.example/"}};
  for (const auto& item : cases) {
    server->faults(item.first);
    const auto error = error_text([&] { get(transport->publish({"t", "x"})); });
    CHECK_MESSAGE(contains(error, item.second), error);
  }
  CHECK(server->log().size() == std::size(cases));
  server->faults("long 200\n");
  const auto error = error_text([&] { get(transport->request({"t", "x"}, kSoon)); });
  CHECK_MESSAGE(contains(error, "longer than"), error);
}

TEST_CASE("https: of the answer to a message only the status counts, not its length or its end") {
  WebServer server;
  const auto transport = connected(server.config());
  for (const char* fault : {"long 200\n", "cut\n"}) {
    server->faults(fault);
    get(transport->publish({"t", "x"}));
  }
  server->faults("long 403\n");
  const auto error = error_text([&] { get(transport->publish({"t", "x"})); });
  CHECK_MESSAGE(contains(error, "the server answered 403 (xxx"), error);
  CHECK(server->log().size() == 3);
}

TEST_CASE("https: a request ends in time, and others go on meanwhile") {
  WebServer server;
  const auto transport = connected(server.config());
  server->faults("stall\n");
  auto stalled = transport->request({"t", "x"}, std::chrono::milliseconds(700));
  const auto error = error_text([&] { get(std::move(stalled)); });
  CHECK_MESSAGE(contains(error, "no answer within 700 ms"), error);
  CHECK(contains(get(transport->request({"t", "y"}, kSoon)).payload, "\"y\""));
}

TEST_CASE("https: a request without time for an answer ends at once, one with all time does not") {
  WebServer server;
  const auto transport = connected(server.config());
  for (const int milliseconds : {0, -1}) {
    server->faults("stall\n");
    const auto error = error_text([&] {
      get(transport->request({"t", "x"}, std::chrono::milliseconds(milliseconds)));
    });
    CHECK_MESSAGE(contains(error, "no answer within 1 ms"), error);
  }
  server->faults("");
  for (const auto timeout :
       {std::chrono::milliseconds(1LL << 32), std::chrono::milliseconds::max()})
    CHECK(contains(get(transport->request({"t", "y"}, timeout)).payload, "\"y\""));
}

TEST_CASE("https: requests that hang do not hold up the timeout of others, nor messages") {
  WebServer server;
  const auto transport = connected(server.config());
  constexpr int kAtOnce = 8;
  std::string faults;
  std::vector<std::future<Message>> hanging;
  for (int i = 0; i < kAtOnce; ++i) faults += "stall\n";
  server->faults(faults);
  for (int i = 0; i < kAtOnce; ++i)
    hanging.push_back(transport->request({"t", "x"}, std::chrono::milliseconds(5000)));
  REQUIRE(eventually([&] { return read_file(server.file("https.faults")).empty(); }));
  const auto begin = std::chrono::steady_clock::now();
  auto later = transport->request({"t", "y"}, kSoon);
  auto next = transport->request({"t", "x"}, std::chrono::milliseconds(300));
  get(transport->publish({"t", "x"}));
  const auto error = error_text([&] { get(std::move(next)); });
  CHECK_MESSAGE(contains(error, "no answer within 300 ms"), error);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(3));
  for (auto& request : hanging)
    CHECK(contains(error_text([&] { get(std::move(request)); }), "no answer within 5000 ms"));
  CHECK(contains(get(std::move(later)).payload, "\"y\""));  // in the place of one that ended
}

TEST_CASE("https: close() keeps its deadline, and fails what is left") {
  WebServer server;
  const auto transport = connected(server.config());
  server->faults("stall\n");
  auto stalled = transport->publish({"t", "x"});
  auto next = transport->publish({"t", "y"});
  const auto begin = std::chrono::steady_clock::now();
  transport->close(std::chrono::milliseconds(300));
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(2));
  CHECK(contains(error_text([&] { get(std::move(stalled)); }), "closed"));
  CHECK(contains(error_text([&] { get(std::move(next)); }), "closed"));
  CHECK(contains(error_text([&] { get(transport->publish({"t", "z"})); }), "closed"));
  CHECK(contains(error_text([&] { get(transport->connect()); }), "closed"));
}

TEST_CASE("https: close() delivers what it can") {
  WebServer server;
  const auto transport = connected(server.config());
  auto first = transport->publish({"t", "x"});
  auto second = transport->publish({"t", "y"});
  transport->close(kSoon);
  CHECK_NOTHROW(get(std::move(first)));
  CHECK_NOTHROW(get(std::move(second)));
}

TEST_CASE("https: renewed certificates are used by the next connection") {
  WebServer server;
  auto config = server.config();
  config.cert = server.file("current.pem");
  config.key = server.file("current.key");
  const auto use = [&](const std::string& name) {
    for (const char* end : {".pem", ".key"}) {
      std::filesystem::copy_file(server.file(name + end), server.file("next"));
      std::filesystem::rename(server.file("next"), server.file(std::string("current") + end));
    }
  };
  use("line-7");
  const auto transport = connected(config);
  CHECK(contains(get(transport->request({"t", "x"}, kSoon)).payload, "line-7"));
  use("line-8");
  server->stop();
  server->start();
  CHECK(contains(get(transport->request({"t", "x"}, kSoon)).payload, "line-8"));
}

TEST_CASE("https: a changed ca-file is read by the next connection") {
  WebServer server;
  auto config = server.config();
  config.ca_file = server.file("trusted.pem");
  const auto trust = [&](const char* name) {
    std::filesystem::copy_file(server.file(name), config.ca_file,
                               std::filesystem::copy_options::overwrite_existing);
  };
  trust("ca.pem");
  const auto transport = connected(config);
  get(transport->publish({"t", "x", Qos::at_most_once}));
  trust("other-ca.pem");
  server->stop();
  server->start();
  const auto error = error_text([&] { get(transport->publish({"t", "x", Qos::at_most_once})); });
  CHECK_MESSAGE(contains(error, "certificate"), error);
  trust("ca.pem");
  get(transport->publish({"t", "x"}));
}

TEST_CASE("https: a key of another kind than the certificate is refused, not left out") {
  WebServer server;
  const OpensslServer asking(server.path(), "server", {"-verify", "1", "-CAfile", "ca.pem"});
  openssl(server.path(),
          {"genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "rsa.key"});
  auto config = server.config();
  config.endpoint = "https://localhost:" + std::to_string(asking.port());
  CHECK(connect_error(config) == "no error");
  config.key = server.file("rsa.key");
  const auto error = connect_error(config);
  CHECK_MESSAGE(contains(error, "rsa.key does not belong to the certificate"), error);
}

TEST_CASE("https: SSLKEYLOGFILE gets no secrets of a device's connections") {
  WebServer server;
  const auto config = server.config();
  write_file(server.path() / "device.conf",
             "endpoint = " + config.endpoint + "\nclient-id = line-7\nca-file = " + config.ca_file +
                 "\ncert = " + config.cert + "\nkey = " + config.key + "\n");
  Process publisher({"/usr/bin/env", "SSLKEYLOGFILE=" + server.file("secrets"), HWID_TEST_PUBLISH,
                     "--config", server.file("device.conf"), "--topic", "t", "--message", "x"},
                    server.path() / "out", server.path() / "err");
  CHECK_MESSAGE(publisher.wait() == 0, read_file(server.path() / "err"));
  CHECK(server->log().size() == 1);
  CHECK(read_file(server.path() / "secrets").find("RANDOM") == std::string::npos);
  CHECK(read_file(server.path() / "secrets").find("SECRET") == std::string::npos);
}

TEST_CASE("https: what cannot be trusted, or does not trust us, is told apart") {
  WebServer server;
  struct Case {
    const char* part;
    void (*change)(DeviceConfig& config, const WebServer& server);
  };
  const Case cases[] = {
      {"ca-file", [](DeviceConfig& c, const WebServer& s) { c.ca_file = s.file("other-ca.pem"); }},
      {"ca-file must be PEM",
       [](DeviceConfig& c, const WebServer&) { c.ca_file = "/nonexistent"; }},
      {"/nonexistent", [](DeviceConfig& c, const WebServer&) { c.key = "/nonexistent"; }},
      {"does not belong to the certificate",
       [](DeviceConfig& c, const WebServer& s) { c.key = s.file("stranger.key"); }},
      {"write a name that it has",
       [](DeviceConfig& c, const WebServer&) {
         c.endpoint.replace(c.endpoint.find("localhost"), 9, "127.0.0.1");
       }},
      {"openssl ciphers", [](DeviceConfig& c, const WebServer&) { c.ciphers = "NONSENSE"; }},
      {"crl-file", [](DeviceConfig& c, const WebServer& s) { c.crl_file = s.file("ca.pem"); }},
      {"proxy", [](DeviceConfig& c, const WebServer&) { c.proxy = "http://proxy.invalid:3128"; }},
  };
  for (const auto& item : cases) {
    auto config = server.config();
    item.change(config, server);
    const auto error = connect_error(config);
    CHECK_MESSAGE(contains(error, item.part), (std::string(item.part) + ": " + error));
  }
  auto config = server.config();
  config.min_tls = TlsVersion::v1_3;
  CHECK(connect_error(config) == "no error");
  // In TLS 1.3 the server's opinion of our certificate comes after the handshake.
  config.cert = server.file("stranger.pem");
  config.key = server.file("stranger.key");
  for (const auto version : {TlsVersion::v1_2, TlsVersion::v1_3}) {
    config.min_tls = version;
    const auto error = connect_error(config);
    CHECK_MESSAGE(contains(error, "does not know the CA of our certificate"), error);
  }
}

TEST_CASE("https: revoked certificates are noticed, by CRL and by stapled OCSP response") {
  WebServer server;
  auto config = server.config();
  config.crl_file = server.file("crl.pem");
  append_crl(server.path(), "crl.pem", "ca", {"line-8"});
  CHECK(connect_error(config) == "no error");
  std::filesystem::remove(config.crl_file);
  append_crl(server.path(), "crl.pem", "ca", {"server"});
  CHECK_MESSAGE(contains(connect_error(config), "revoked"), connect_error(config));

  config = server.config();
  write_ocsp_response(server.path(), "response", "ca", "ca", "server", OcspStatus::good);
  const OpensslServer stapling(server.path(), "server", {"-status_file", "response"});
  config.endpoint = "https://localhost:" + std::to_string(stapling.port());
  for (const char* wanted : {"staple", "require"}) {
    config.ocsp = wanted;
    write_ocsp_response(server.path(), "response", "ca", "ca", "server", OcspStatus::good);
    CHECK(connect_error(config) == "no error");
    write_ocsp_response(server.path(), "response", "ca", "ca", "server", OcspStatus::revoked);
    CHECK_MESSAGE(contains(connect_error(config), "revoked"), connect_error(config));
  }
  const OpensslServer silent(server.path(), "server");
  config.endpoint = "https://localhost:" + std::to_string(silent.port());
  CHECK_MESSAGE(contains(connect_error(config), "stapled no OCSP response"), connect_error(config));
  config.ocsp = "staple";
  CHECK(connect_error(config) == "no error");
}

TEST_CASE("https: through a proxy, and not through that of the environment") {
  WebServer server;
  const HttpProxy proxy(server.path());
  auto config = server.config();
  config.proxy = "http://127.0.0.1:" + std::to_string(proxy.port());
  CHECK(contains(get(connected(config)->request({"t", "x"}, kSoon)).payload, "line-7"));
  CHECK_MESSAGE(contains(proxy.log(), "CONNECT localhost:"), proxy.log());
  REQUIRE(::setenv("https_proxy", "http://proxy.invalid:1", 1) == 0);
  config.proxy.clear();
  CHECK(connect_error(config) == "no error");
  ::unsetenv("https_proxy");
}

TEST_CASE("https: what a proxy answers is no answer to a message") {
  WebServer server;
  const HttpProxy proxy(server.path());
  auto config = server.config();
  config.proxy = "http://127.0.0.1:" + std::to_string(proxy.port());
  config.ca_file = server.file("trusted.pem");
  std::filesystem::copy_file(server.file("ca.pem"), config.ca_file);
  const auto transport = connected(config);
  const auto publish_error = [&] {
    return error_text([&] { get(transport->publish({"t", "x", Qos::at_most_once})); });
  };
  CHECK(publish_error() == "no error");
  server->stop();
  auto error = publish_error();  // it opens no tunnel
  CHECK_MESSAGE(contains(error, "500"), error);
  server->start();
  write_file(config.ca_file, read_file(server.file("other-ca.pem")));
  error = publish_error();  // the tunnel is there, and what is behind it is not trusted
  CHECK_MESSAGE(contains(error, "certificate"), error);
}

TEST_CASE("https: the proxy gets user and password as they were before they were percent-encoded") {
  WebServer server;
  Log<std::string> heard;
  const SocketServer proxy([&](int socket) {
    heard.add(read_http_headers(socket));
    send_text(socket, "HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n");
  });
  auto config = server.config();
  config.proxy = "http://us%3Aer:p%2541%3Ass@127.0.0.1:" + std::to_string(proxy.port());
  const auto error = connect_error(config);
  CHECK_MESSAGE(contains(error, "check user and password in proxy"), error);
  CHECK_FALSE(contains(error, "ss@"));
  REQUIRE_FALSE(heard.wait_for(1).empty());
  // us:er:p%41:ss
  CHECK_MESSAGE(contains(heard.now()[0], "Proxy-Authorization: Basic dXM6ZXI6cCU0MTpzcw==\r\n"),
                heard.now()[0]);
}

TEST_CASE("https: what it cannot do is refused at once") {
  WebServer server;
  const auto refused = [&](auto change) {
    auto config = server.config();
    change(config);
    return error_text([&] { open(config); });
  };
  CHECK(contains(refused([](DeviceConfig& c) { c.qos = Qos::exactly_once; }), "key qos"));
  CHECK(contains(refused([](DeviceConfig& c) { c.will_topic = "t"; }), "key will-topic"));
  CHECK(contains(refused([](DeviceConfig& c) { c.proxy = "socks5://p"; }), "key proxy"));
  CHECK(contains(refused([](DeviceConfig& c) { c.key.clear(); }), "key key"));
  CHECK(contains(refused([](DeviceConfig& c) { c.profile = Profile::azure; }), "HTTPS"));
  CHECK(contains(refused([](DeviceConfig& c) { c.profile = Profile::aws; }), "without a path"));
  const auto transport = open(server.config());
  CHECK(contains(error_text([&] { get(transport->publish({"t", "x"})); }), "call connect() first"));
  get(transport->connect());
  const auto error = [&](const Message& message) {
    return error_text([&] { get(transport->publish(message)); });
  };
  CHECK(contains(error({"t", "x", Qos::exactly_once}), "exactly once"));
  CHECK(contains(error({"t", "x", Qos::at_least_once, true}), "retains nothing"));
  CHECK(contains(error({"#", "x"}), "subscriptions only"));
  Message message{"t", "x"};
  message.properties.content_type = "a\r\nX: y";
  CHECK(contains(error(message), "control character"));
  message.properties = {};
  message.properties.user = {{"a", "b"}};
  CHECK(contains(error(message), "no property"));
  CHECK(contains(
      error_text([&] { get(transport->subscribe("t", Qos::at_most_once, [](const Message&) {})); }),
      "mqtts://"));
  CHECK(contains(error_text([&] { get(transport->unsubscribe("t")); }), "no subscriptions"));
}

TEST_CASE("https: AWS takes a publication with MQTT 5's properties, on both ports") {
  const AwsStandIn cloud;
  const TemporaryDirectory output;
  Process subscriber({HWID_TEST_MOSQUITTO_SUB, "--unix", cloud.socket(), "-V", "5", "-q", "1", "-t",
                      kTopic, "-C", "2", "-F", "%t|%p|%q|%C|%R|%D|%E|%P"},
                     output / "out", output / "err");
  REQUIRE(eventually([&] { return contains(cloud.log(), "Sending SUBACK"); }));
  Message message{kTopic, R"({"a":1})"};
  message.properties.content_type = "application/json";
  message.properties.response_topic = "a/b";
  message.properties.correlation_data = "c-1";
  message.properties.message_expiry = std::chrono::seconds(100);
  message.properties.user = {{"key", "value one"}};
  auto config = cloud.https_config("line-7");
  get(connected(config)->publish(message));
  config.endpoint = "https://localhost:" + std::to_string(cloud.port_443());
  CHECK(connect_error(config) != "no error");
  config.alpn = {"x-amzn-http-ca"};  // what the profile adds on port 443
  get(connected(config)->publish(message));
  CHECK(subscriber.wait() == 0);
  const std::string line =
      kTopic + R"(|{"a":1}|1|application/json|a/b|c-1|100|key:value one)" + "\n";
  CHECK(read_file(output / "out") == line + line);
}

TEST_CASE("https: AWS's no names the permission") {
  const AwsStandIn cloud;
  const auto transport = connected(cloud.https_config("line-7"));
  const auto error = error_text([&] { get(transport->publish({"other", "x"})); });
  CHECK_MESSAGE(contains(error, "403 (Forbidden"), error);
  CHECK_MESSAGE(contains(error, "iot:Publish on topic/other"), error);
  CHECK(contains(error_text([&] {
                   get(transport->request({kTopic, "x"}, kSoon));
                 }),
                 "use publish(), or mqtts://"));
  Message retained{kTopic, "x"};
  retained.retain = true;
  CHECK(contains(error_text([&] { get(transport->publish(retained)); }), "403"));
}
