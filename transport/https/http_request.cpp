#include "transport/https/http_request.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "transport/base64.h"
#include "transport/cloud/rules.h"
#include "transport/cloud/url_encoding.h"
#include "transport/topic.h"

namespace hwid::transport::https {

namespace {

using cloud::url_encode;

void refuse(const Message& message, const std::string& why, const std::string& next_step) {
  throw Error(ErrorKind::usage, "publish", message.topic, why, next_step);
}

// A line end in a header would begin another one.
void check_header_value(const Message& message, const std::string& value) {
  if (std::any_of(value.begin(), value.end(), [](unsigned char c) { return c < ' ' || c == 127; }))
    refuse(message, "the content type has a control character", "remove it");
}

// "Publish" in AWS's "IoT data plane API reference".
HttpRequest aws_request_of(const Endpoint& endpoint, const Message& message) {
  const auto& properties = message.properties;
  HttpRequest request;
  request.url = "https://" + endpoint.authority() + "/topics/" + url_encode(message.topic) +
                "?qos=" + (message.qos == Qos::at_most_once ? "0" : "1");
  if (message.retain) request.url += "&retain=true";
  if (!properties.content_type.empty())
    request.url += "&contentType=" + url_encode(properties.content_type);
  if (!properties.response_topic.empty())
    request.url += "&responseTopic=" + url_encode(properties.response_topic);
  if (properties.message_expiry)
    request.url += "&messageExpiry=" + std::to_string(properties.message_expiry->count());
  if (!properties.correlation_data.empty())
    request.headers.push_back("x-amz-mqtt5-correlation-data: " +
                              to_base64(properties.correlation_data));
  if (!properties.user.empty()) {
    auto user = nlohmann::json::array();
    for (const auto& [name, value] : properties.user) user.push_back({{name, value}});
    using nlohmann::json;
    request.headers.push_back("x-amz-mqtt5-user-properties: " +
                              to_base64(user.dump(-1, ' ', false, json::error_handler_t::replace)));
  }
  request.headers.emplace_back("Content-Type: application/octet-stream");
  return request;
}

HttpRequest plain_request_of(const Endpoint& endpoint, const Message& message) {
  const auto& properties = message.properties;
  if (message.retain)
    refuse(message, "a web server retains nothing", "publish without retain, or use mqtts://");
  if (!properties.response_topic.empty() || !properties.correlation_data.empty() ||
      properties.message_expiry || !properties.user.empty())
    refuse(message, "a plain POST carries no property but the content type",
           "leave them out, or use mqtts:// with mqtt-version = 5");
  check_header_value(message, properties.content_type);
  HttpRequest request;
  request.url = "https://" + endpoint.authority() + endpoint.path;
  for (std::size_t begin = 0; begin <= message.topic.size();) {  // the slashes stay slashes
    const auto end = std::min(message.topic.find('/', begin), message.topic.size());
    request.url += "/" + url_encode(std::string_view(message.topic).substr(begin, end - begin));
    begin = end + 1;
  }
  const std::string type =
      properties.content_type.empty() ? "application/octet-stream" : properties.content_type;
  request.headers.push_back("Content-Type: " + type);
  return request;
}

}  // namespace

HttpRequest http_request_of(const DeviceConfig& config, const Endpoint& endpoint,
                            const Message& message) {
  check_topic_name(message.topic);
  cloud::check_publish(config, message);
  if (message.qos == Qos::exactly_once)
    refuse(message, "HTTPS cannot promise to deliver exactly once", "use QoS 0 or 1");
  return config.profile == Profile::aws ? aws_request_of(endpoint, message)
                                        : plain_request_of(endpoint, message);
}

}  // namespace hwid::transport::https
