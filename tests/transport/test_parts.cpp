#include <doctest/doctest.h>
#include <hwid/transport.h>

#include <atomic>

#include "broker.h"
#include "transport/backoff.h"
#include "transport/endpoint.h"
#include "transport/mqtt/correlation.h"
#include "transport/mqtt/publish_packet.h"
#include "transport/serial_queue.h"
#include "transport/tls_client.h"
#include "transport/topic.h"

using namespace hwid::transport;  // NOLINT(google-build-using-namespace)
using mqtt_client::Correlation;

namespace {

std::string open_error(const DeviceConfig& config) {
  try {
    open(config);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

DeviceConfig good_config() {
  DeviceConfig config;
  config.endpoint = "mqtts://localhost";
  config.client_id = "unit";
  return config;
}

DeviceConfig speaking(MqttVersion version) {
  DeviceConfig config = good_config();
  config.mqtt_version = version;
  return config;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class NullTransport final : public Transport {
 public:
  std::future<void> connect() override { return {}; }
  std::future<Delivery> publish(Message) override { return {}; }
  std::future<void> subscribe(std::string, Qos, MessageHandler) override { return {}; }
  std::future<void> unsubscribe(std::string) override { return {}; }
  std::future<Message> request(Message, std::chrono::milliseconds) override { return {}; }
  void on_state(StateHandler) override {}
  void close(std::chrono::milliseconds) noexcept override {}
};

}  // namespace

namespace {

bool matches(const mqtt_client::Correlation& correlation, const Message& message) {
  return correlation.judge(mqtt_client::Arrival(message)).matches;
}

}  // namespace

TEST_CASE("endpoint: a user and a password are refused, and not shown") {
  for (const char* bad : {"mqtts://user:geheim@b", "mqtts://user:geh@eim@b:1", "user:geheim@b",
                          "https://user:geheim@b/x", "carrier://user:geheim@b"}) {
    DeviceConfig config;
    config.endpoint = bad;
    try {
      open(config);
      FAIL("no error");
    } catch (const Error& error) {
      const std::string text = error.what();
      CHECK_MESSAGE(text.find("eim") == std::string::npos, text);
      CHECK_MESSAGE(text.find("***@b") != std::string::npos, text);
    }
  }
}

TEST_CASE("endpoint: scheme, host and port") {
  const auto plain = parse_endpoint("MQTTS://broker.example");
  CHECK(plain.scheme == "mqtts");
  CHECK(plain.host == "broker.example");
  CHECK(plain.port == 0);
  CHECK(parse_endpoint("mqtts://b:443").port == 443);
  const auto ipv6 = parse_endpoint("mqtts://[::1]:8883");
  CHECK(ipv6.host == "::1");
  CHECK(ipv6.authority() == "[::1]:8883");
  CHECK(parse_endpoint("wss://b/ws/mqtt").path == "/ws/mqtt");
  CHECK(parse_endpoint("wss://b:444/").port == 444);
  CHECK(parse_endpoint("wss://b").path.empty());
  for (const char* bad :
       {"", "broker", "://b", "mqtts://", "wss://", "wss:///mqtt", "wss://b/p?q", "wss://u@b/p",
        "mqtts://:1", "mqtts://b:0", "mqtts://b:65536", "mqtts://b:x", "mqtts://b/path",
        "mqtts://u@b", "mqtts://[::1", "mqtts://[::1]x"})
    CHECK_THROWS_AS(parse_endpoint(bad), Error);
}

TEST_CASE("registry: an unknown scheme names the known ones") {
  auto config = good_config();
  config.endpoint = "carrier-pigeon://loft";
  const auto error = open_error(config);
  CHECK_MESSAGE(contains(error, "carrier-pigeon"), error);
  CHECK_MESSAGE(contains(error, "mqtts://"), error);
}

TEST_CASE("registry: a registered scheme is opened") {
  std::string seen;
  register_scheme("null", [&](const DeviceConfig& config) {
    seen = config.endpoint;
    return std::make_unique<NullTransport>();
  });
  DeviceConfig config;
  config.endpoint = "null://there";
  CHECK(open(config) != nullptr);
  CHECK(seen == "null://there");
  register_scheme("null", nullptr);
  CHECK_THROWS_AS(open(config), Error);
}

TEST_CASE("open: an option that the scheme cannot honour is refused by name") {
  const std::pair<const char*, void (*)(DeviceConfig&)> cases[] = {
      {"spool-dir",
       [](DeviceConfig& c) {
         c.spool_dir = "/spool";
         c.clean_session = true;
       }},
      {"spool-full", [](DeviceConfig& c) { c.spool_full = "sometimes"; }},
      {"session-expiry", [](DeviceConfig& c) { c.session_expiry = std::chrono::seconds(1); }},
      {"receive-maximum", [](DeviceConfig& c) { c.receive_maximum = 1; }},
      {"client-id", [](DeviceConfig& c) { c.client_id.clear(); }},
      {"will-message", [](DeviceConfig& c) { c.will_message = "gone"; }},
      {"cert", [](DeviceConfig& c) { c.key = "/key"; }},
      {"key", [](DeviceConfig& c) { c.cert = "/cert"; }},
      {"qos",
       [](DeviceConfig& c) {
         c.profile = Profile::aws;
         c.qos = Qos::exactly_once;
       }},
      {"endpoint", [](DeviceConfig& c) { c.endpoint = "mqtt://localhost"; }},
      {"endpoint", [](DeviceConfig& c) { c.endpoint = "mqtts://[::1]"; }},
      {"endpoint", [](DeviceConfig& c) { c.endpoint = "wss://localhost/a:b"; }},
      {"proxy", [](DeviceConfig& c) { c.proxy = "http://proxy"; }},
      {"ca-file",
       [](DeviceConfig& c) {
         c.endpoint = "mqtt://localhost";
         c.allow_plaintext = true;
         c.ca_file = "/ca";
       }},
      {"alpn", [](DeviceConfig& c) { c.alpn = {std::string(256, 'x')}; }},
  };
  CHECK(open_error(good_config()) == "no error");
  for (const auto& item : cases) {
    auto config = good_config();
    item.second(config);
    CHECK_MESSAGE(contains(open_error(config), item.first), item.first);
  }
}

TEST_CASE("open: TLS has options that plain connections have not") {
  const std::pair<const char*, void (*)(DeviceConfig&)> cases[] = {
      {"crl-file", [](DeviceConfig& c) { c.crl_file = "/crl"; }},
      {"ocsp", [](DeviceConfig& c) { c.ocsp = "require"; }},
      {"ciphers", [](DeviceConfig& c) { c.ciphers = "HIGH"; }},
      {"cert", [](DeviceConfig& c) { c.cert = c.key = "/k"; }}};
  for (const auto& item : cases) {
    CAPTURE(item.first);
    for (const char* endpoint : {"mqtts://localhost", "wss://localhost", "mqtt://localhost"}) {
      auto config = good_config();
      config.endpoint = endpoint;
      config.allow_plaintext = true;
      item.second(config);
      const bool plain = config.endpoint.rfind("mqtt:", 0) == 0;
      CHECK(contains(open_error(config), item.first) == plain);
    }
  }
}

TEST_CASE("open: mqtt:// works when it is allowed") {
  auto config = good_config();
  config.endpoint = "mqtt://localhost";
  config.allow_plaintext = true;
  CHECK(open_error(config) == "no error");
}

TEST_CASE("backoff: stays below a ceiling that doubles up to the cap") {
  using std::chrono::milliseconds;
  Backoff backoff(milliseconds(100), milliseconds(1000));
  for (const int ceiling : {100, 200, 400, 800, 1000, 1000}) {
    CHECK(backoff.ceiling() == milliseconds(ceiling));
    const auto wait = backoff.next();
    CHECK(wait >= milliseconds(0));
    CHECK(wait <= milliseconds(ceiling));
  }
  backoff.reset();
  CHECK(backoff.ceiling() == milliseconds(100));
}

TEST_CASE("backoff: jitters over the whole range") {
  using std::chrono::milliseconds;
  Backoff backoff(milliseconds(1000), milliseconds(1000));
  milliseconds least{1000};
  milliseconds most{0};
  for (int i = 0; i < 200; ++i) {
    const auto wait = backoff.next();
    least = std::min(least, wait);
    most = std::max(most, wait);
  }
  CHECK(least < milliseconds(200));
  CHECK(most > milliseconds(800));
}

TEST_CASE("topic: names and filters are checked") {
  CHECK_NOTHROW(check_topic_name("a/b"));
  for (const std::string& bad : {std::string(), std::string("a/#"), std::string("+/a"),
                                 std::string("a\0b", 3), std::string(65536, 'x')})
    CHECK_THROWS_AS(check_topic_name(bad), Error);
  for (const char* good : {"#", "+", "a/+/b", "a/#", "$share/g/a/#", "/"})
    CHECK_NOTHROW(check_topic_filter(good));
  for (const char* bad : {"", "a/#/b", "a#", "a+/b", "a/b+"})
    CHECK_THROWS_AS(check_topic_filter(bad), Error);
}

TEST_CASE("topic: filters match as MQTT 4.7 says") {
  const std::pair<const char*, const char*> matching[] = {{"#", "a"},
                                                          {"#", "a/b"},
                                                          {"a/#", "a"},
                                                          {"a/#", "a/b/c"},
                                                          {"a/+", "a/b"},
                                                          {"+/+", "/a"},
                                                          {"/+", "/a"},
                                                          {"a/+/c", "a/b/c"},
                                                          {"a", "a"},
                                                          {"a/", "a/"},
                                                          {"+", "a"},
                                                          {"a/+", "a/"},
                                                          {"$share/g/a/+", "a/b"},
                                                          {"$SYS/#", "$SYS/x"}};
  for (const auto& pair : matching)
    CHECK_MESSAGE(topic_matches(pair.first, pair.second),
                  (std::string(pair.first) + " " + pair.second));
  const std::pair<const char*, const char*> other[] = {
      {"a", "b"},  {"a", "a/b"},    {"a/b", "a"},      {"a/+", "a"}, {"+", "a/b"},
      {"+", "/a"}, {"#", "$SYS/x"}, {"+/x", "$SYS/x"}, {"a/", "a"},  {"$share/g/a", "b"}};
  for (const auto& pair : other)
    CHECK_MESSAGE(!topic_matches(pair.first, pair.second),
                  (std::string(pair.first) + " " + pair.second));
}

TEST_CASE("correlation: by requestId, on the /resp topic") {
  Message request{.topic = "t/req", .payload = R"({"requestId": "111-222-333"})"};
  const Correlation correlation(request, speaking(MqttVersion::v3_1_1));
  CHECK(correlation.filters() == std::vector<std::string>{"t/resp"});
  CHECK(request.properties.empty());
  CHECK(matches(correlation, {"t/resp", R"({"statusCode":"200","requestId":"111-222-333"})"}));
  CHECK_FALSE(matches(correlation, {"t/resp", R"({"requestId":"111"})"}));
  CHECK_FALSE(matches(correlation, {"t/other", R"({"requestId":"111-222-333"})"}));
  CHECK_FALSE(matches(correlation, {"t/resp", "no JSON"}));
  CHECK_FALSE(matches(correlation, {"t/resp", R"(["requestId"])"}));
}

TEST_CASE("correlation: MQTT 5 needs no requestId") {
  Message request{.topic = "t/req", .payload = "binary"};
  const Correlation correlation(request, speaking(MqttVersion::v5));
  CHECK(request.properties.response_topic == "t/resp");
  CHECK(request.properties.correlation_data.size() == 32);
  Message answer{.topic = "t/resp", .payload = "any"};
  CHECK_FALSE(matches(correlation, answer));
  answer.properties.correlation_data = request.properties.correlation_data;
  CHECK(matches(correlation, answer));
}

TEST_CASE("correlation: what cannot be answered is an error") {
  Message no_id{.topic = "t/req", .payload = "{}"};
  CHECK_THROWS_AS(Correlation(no_id, speaking(MqttVersion::v3_1_1)), Error);
  Message no_topic{.topic = "t", .payload = R"({"requestId":1})"};
  CHECK_THROWS_AS(Correlation(no_topic, speaking(MqttVersion::v5)), Error);
}

TEST_CASE("publish packet: read, and written in the other version's format") {
  using namespace mqtt_client;  // NOLINT(google-build-using-namespace)
  const std::string payload(200, 'x');
  const std::string v3 = std::string("\x35\xcf\1\0\3a/b\0\7", 10) + payload;
  const std::string v5 = std::string("\x35\xd0\1\0\3a/b\0\7\0", 11) + payload;
  const std::string with_properties = std::string("\x35\x0d\0\1a\0\7\5\2\0\0\0\1xy", 15);
  const auto message = message_in(v3);
  REQUIRE(message);
  CHECK(message->topic == "a/b");
  CHECK(message->payload == payload);
  CHECK(message->qos == Qos::exactly_once);
  CHECK(message->retain);
  CHECK(to_5(v3) == v5);
  CHECK(to_3_1_1(v5) == v3);
  CHECK(to_3_1_1(with_properties) == std::string("\x35\7\0\1a\0\7xy", 9));
  const auto empty = message_in(std::string("\x34\4\0\0\0\7", 6));
  CHECK((empty && empty->topic.empty() && empty->payload.empty()));

  for (std::size_t missing = 1; missing <= v3.size(); ++missing) {  // cut off at any byte
    CHECK_FALSE(message_in(v3.substr(0, v3.size() - missing)));
    CHECK_FALSE(to_5(v3.substr(0, v3.size() - missing)));
    CHECK_FALSE(to_3_1_1(v5.substr(0, v5.size() - missing)));
  }
  CHECK_FALSE(message_in(v3 + "x"));
  CHECK_FALSE(message_in(std::string("\x34\xff\xff\xff\xff\1\0\0\0\7", 10)));
  CHECK_FALSE(message_in(std::string("\x34\4\0\1\0\7", 6)));  // a topic that is longer
  CHECK_FALSE(to_3_1_1(std::string("\x34\5\0\0\0\7\1", 7)));  // so are the properties
  CHECK_FALSE(to_3_1_1(std::string("\x34\4\0\0\0\7", 6)));    // and there are none
}

TEST_CASE("serial_queue: in order, timers when due, survives exceptions, drops after stop") {
  SerialQueue queue("test");
  std::vector<int> seen;  // its own thread's until stop()
  std::promise<void> last;
  queue.post_after(std::chrono::milliseconds(30), [&] {
    seen.push_back(3);
    last.set_value();
  });
  queue.post([&] { seen.push_back(1); });
  queue.post([] { throw std::runtime_error("expected by the test"); });
  queue.post([&] { seen.push_back(2); });
  CHECK(last.get_future().wait_for(hwid::test::kPatience) == std::future_status::ready);
  queue.stop();
  CHECK(seen == std::vector<int>{1, 2, 3});
  CHECK_FALSE(queue.post([] {}));
}

TEST_CASE("alpn: names behind their lengths") {
  CHECK(alpn_wire_format({"ab", "c"}) == std::string("\x02"
                                                     "ab\x01"
                                                     "c"));
  CHECK_THROWS_AS(alpn_wire_format({""}), Error);
}
