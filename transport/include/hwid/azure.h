#pragma once

#include <hwid/transport.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

// Azure IoT Hub's topics, for `profile = azure`. Transport::request() knows where the answers of
// twin_get() and twin_report() come: a status other than 2xx is an Error of kind refused.
//
//   transport->publish(azure::telemetry("line-7", {.payload = R"({"temperature": 21})"})).get();
//   auto twin = transport->request(azure::twin_get(), std::chrono::seconds(5)).get().payload;
//   transport->subscribe(azure::method_filter(), Qos::at_least_once, [&](const Message& m) {
//     if (auto call = azure::parse_method_call(m))
//       transport->publish(azure::method_response(*call, 200, R"({"done": true})"));
//   });
//
// Plain values and functions: any thread. JSON is text here, so that a program may use the library
// that it likes. A device is named DEVICE, a module DEVICE/MODULE, as in client-id.
namespace hwid::transport::azure {

using PropertyBag = std::vector<std::pair<std::string, std::string>>;

// From device to cloud, or from cloud to device. IoT Hub's MQTT carries the members beside the
// payload in the topic, percent-encoded.
struct HubMessage {
  std::string payload;
  std::string content_type = {};  // $.ct, e.g. application/json: lets routing look into the payload
  std::string content_encoding = {};  // $.ce, e.g. utf-8
  std::string message_id = {};        // $.mid
  std::string correlation_id = {};    // $.cid
  PropertyBag properties = {};        // the application's
  PropertyBag system = {};            // the others of IoT Hub's own: $.exp, $.to, iothub-ack, ...
};

// Throws Error of kind usage for a device that a topic cannot hold, and a property without a name.
HWID_TRANSPORT_API Message telemetry(const std::string& device, const HubMessage& message,
                                     Qos qos = Qos::at_least_once);

HWID_TRANSPORT_API std::string cloud_to_device_filter(const std::string& device);
// Nothing where the topic is none of these.
HWID_TRANSPORT_API std::optional<HubMessage> parse_cloud_to_device(const Message& message);

// For Transport::request(). The answer's payload is {"desired":...,"reported":...}, or empty.
HWID_TRANSPORT_API Message twin_get();
// Throws Error of kind usage where `reported` is no JSON object.
HWID_TRANSPORT_API Message twin_report(const std::string& reported);

// What the twin shall become, as the cloud sends it when somebody changes it.
HWID_TRANSPORT_API std::string desired_filter();
struct DesiredProperties {
  std::int64_t version = 0;
  std::string properties;  // JSON
};
HWID_TRANSPORT_API std::optional<DesiredProperties> parse_desired(const Message& message);

// A direct method: the cloud waits for the response.
HWID_TRANSPORT_API std::string method_filter();
struct MethodCall {
  std::string name;
  std::string request_id;
  std::string payload;  // JSON
};
HWID_TRANSPORT_API std::optional<MethodCall> parse_method_call(const Message& message);
// `payload` is JSON, or empty. Throws Error of kind usage where it is something else.
HWID_TRANSPORT_API Message method_response(const MethodCall& call, int status,
                                           const std::string& payload = {});

}  // namespace hwid::transport::azure
