#pragma once

#include <hwid/transport.h>

#include <string>
#include <vector>

#include "transport/endpoint.h"
#include "transport/secret_text.h"

namespace hwid::transport::https {

// A request as it goes to the server, but for the payload of a POST.
struct HttpRequest {
  enum class Method { post, get };

  std::string url;
  std::vector<std::string> headers;
  Method method = Method::post;
  // HTTP Basic (RFC 7617), sent unasked; an empty user: none.
  std::string user = {};
  SecretText password = {};
};

// AWS IoT: POST /topics/TOPIC?qos=0|1 with the properties of MQTT 5 in query and headers. Any other
// server: the topic behind the endpoint's path, the content type, and no other property.
// Throws Error of kind usage for what the server could not be told.
HttpRequest http_request_of(const DeviceConfig& config, const Endpoint& endpoint,
                            const Message& message);

}  // namespace hwid::transport::https
