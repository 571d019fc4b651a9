// What publish() refuses, since no broker would take it. No broker is needed: the spool takes the
// rest.
#include <doctest/doctest.h>
#include <hwid/transport.h>

#include "pki.h"

using namespace hwid::test;       // NOLINT(google-build-using-namespace)
using namespace hwid::transport;  // NOLINT(google-build-using-namespace)

namespace {

struct Publisher {
  TemporaryDirectory directory;
  std::unique_ptr<Transport> transport;

  Publisher() {
    DeviceConfig config;
    config.endpoint = "mqtt://127.0.0.1:1";
    config.allow_plaintext = true;
    config.client_id = "unit";
    config.mqtt_version = MqttVersion::v5;
    config.spool_dir = directory.path().string();
    config.spool_max_bytes = 1024;
    transport = open(config);
  }

  // Why it was refused; empty where it was accepted.
  std::string refusal(Message message) {
    auto future = transport->publish(std::move(message));
    if (future.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return {};
    try {
      future.get();
      return "delivered";
    } catch (const Error& error) {
      return (error.kind() == ErrorKind::usage ? "usage: " : "other: ") + std::string(error.what());
    }
  }
};

Message with(void (*change)(Message&)) {
  Message message{"t", "x"};
  change(message);
  return message;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("message: what no broker takes is refused") {
  const struct {
    std::string part;  // of the reason
    void (*change)(Message&);
  } kRefused[] = {
      {"no UTF-8", [](Message& m) { m.topic = "t/\xff\xfe"; }},
      {"no UTF-8", [](Message& m) { m.topic = "t/\xc0\x80"; }},          // overlong
      {"no UTF-8", [](Message& m) { m.topic = "t/\xed\xa0\x80"; }},      // a surrogate
      {"no UTF-8", [](Message& m) { m.topic = "t/\xf4\x90\x80\x80"; }},  // beyond Unicode
      {"no UTF-8", [](Message& m) { m.topic = "t/\xe2\x82"; }},          // cut off
      {"65535 bytes", [](Message& m) { m.topic = std::string(65536, 't'); }},
      {"content_type", [](Message& m) { m.properties.content_type = "\xff\xfe"; }},
      {"content_type", [](Message& m) { m.properties.content_type = std::string(65536, 'x'); }},
      {"response_topic", [](Message& m) { m.properties.response_topic = std::string("a\0b", 3); }},
      {"response_topic", [](Message& m) { m.properties.response_topic = "a/#"; }},
      {"response_topic", [](Message& m) { m.properties.response_topic = "a/+/b"; }},
      {"correlation_data",
       [](Message& m) { m.properties.correlation_data = std::string(65536, '\xff'); }},
      {"user property",
       [](Message& m) {
         m.properties.user = {{"k", std::string(65536, 'x')}};
       }},
      {"user property",
       [](Message& m) {
         m.properties.user = {{"\x80", "v"}};
       }},
      {"message_expiry",
       [](Message& m) { m.properties.message_expiry = std::chrono::seconds(-1); }},
      {"message_expiry",
       [](Message& m) { m.properties.message_expiry = std::chrono::seconds(4294967296); }},
      {"at most 268435455", [](Message& m) { m.payload.assign(268435456, 'x'); }},
      {"at most 268435455",
       [](Message& m) {
         m.properties.user.assign(5000, {"k", std::string(60000, 'x')});
       }},
  };
  Publisher publisher;
  for (const auto& refused : kRefused) {
    CAPTURE(refused.part);
    const auto text = publisher.refusal(with(refused.change));
    CHECK_MESSAGE(contains(text, "usage: "), text);
    CHECK_MESSAGE(contains(text, refused.part), text);
  }
}

TEST_CASE("message: what is just within the limits is taken") {
  Message message{"t/\xe2\x82\xac/\xf4\x8f\xbf\xbf", "\xff"};
  message.properties.content_type = "\xc3\xa4";
  message.properties.response_topic = "a/$b";
  message.properties.correlation_data = std::string("\0\xff", 2);
  message.properties.message_expiry = std::chrono::seconds(4294967295);
  message.properties.user = {{"", ""}, {"k", "\x01"}};
  CHECK(Publisher().refusal(message).empty());
}
