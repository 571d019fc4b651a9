#pragma once

#include <hwid/device_config.h>
#include <hwid/transport_error.h>

#include <string>

#include "transport/endpoint.h"
#include "transport/https/exchange.h"

namespace hwid::transport::https {

// `error` of an exchange that got no answer, or a better reason from a second look at the way to
// the server: one more TLS handshake, in which nothing is sent above TLS. Threads: any. Blocks.
Error explain(const DeviceConfig& config, const Endpoint& endpoint, const Error& error);

// What the server says about its status: a JSON message with the id that its operator asks for, or
// the beginning of the text. In one line, without control characters.
std::string words_of(const Response& response);

}  // namespace hwid::transport::https
