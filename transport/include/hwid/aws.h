#pragma once

#include <hwid/transport.h>

#include <cstdint>
#include <optional>
#include <string>

// AWS IoT Core's own topics, for `profile = aws`. Transport::request() knows where their answers
// come: a rejected one is an Error of kind refused with the cloud's code and message.
//
//   aws::Shadow shadow("line-7");
//   auto document = transport->request(shadow.get(), std::chrono::seconds(5)).get().payload;
//   transport->request(shadow.report(R"({"temperature": 21})"), std::chrono::seconds(5)).get();
//   transport->subscribe(shadow.delta_topic(), Qos::at_least_once, [](const Message& m) {
//     auto delta = aws::parse_shadow_delta(m.payload);
//   });
//
// The policy of the device must let it publish to, subscribe to and receive from these topics.
// Plain values and functions: any thread. JSON is text here, so that a program may use the library
// that it likes.
namespace hwid::transport::aws {

// The shadow of a thing: the classic one, or a named one.
class HWID_TRANSPORT_API Shadow {
 public:
  // Throws Error of kind usage for a name that AWS does not allow: a thing's has 1 to 128 of
  // a-z A-Z 0-9 : _ -, a shadow's 1 to 64 of these and $.
  explicit Shadow(const std::string& thing, const std::string& name = {});

  // For Transport::request(). Throw Error of kind usage where `state` is no JSON object.
  Message get() const;
  Message remove() const;
  Message report(const std::string& state) const;     // {"state":{"reported":STATE}}
  Message desire(const std::string& state) const;     // {"state":{"desired":STATE}}
  Message update(const std::string& document) const;  // {"state":...,"version":...} as it is

  // For Transport::subscribe().
  std::string delta_topic() const { return prefix_ + "update/delta"; }
  std::string documents_topic() const { return prefix_ + "update/documents"; }

 private:
  std::string prefix_;  // ends in a slash
};

// What the device shall change.
struct ShadowDelta {
  std::int64_t version = 0;
  std::string state;  // JSON
};

// Nothing where the payload is no delta.
HWID_TRANSPORT_API std::optional<ShadowDelta> parse_shadow_delta(const std::string& payload);

// $aws/rules/RULE/TOPIC: to a rule of the cloud without the broker. Throws Error of kind usage.
HWID_TRANSPORT_API std::string basic_ingest_topic(const std::string& rule,
                                                  const std::string& topic);

}  // namespace hwid::transport::aws
