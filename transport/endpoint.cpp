#include "transport/endpoint.h"

#include <hwid/transport_error.h>

#include <algorithm>
#include <cctype>
#include <charconv>

namespace hwid::transport {

namespace {

[[noreturn]] void refuse(const std::string& text, const std::string& why) {
  throw Error(ErrorKind::environment, "endpoint",
              text.empty() ? "(none)" : printable_endpoint(text), why,
              "write endpoint = mqtts://HOST or mqtts://HOST:PORT, for https:// also a /PATH");
}

std::uint16_t parse_port(const std::string& text, const std::string& digits) {
  unsigned value = 0;
  const auto* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value);
  if (error != std::errc() || stop != end || value == 0 || value > 65535)
    refuse(text, "the port '" + digits + "' is not a number from 1 to 65535");
  return static_cast<std::uint16_t>(value);
}

}  // namespace

std::string Endpoint::authority() const {
  const bool ipv6 = host.find(':') != std::string::npos;
  return (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string printable_endpoint(const std::string& text) {
  std::string shown = text;
  if (const auto at = text.rfind('@'); at != std::string::npos) {
    const auto separator = text.find("://");
    shown = (separator < at ? text.substr(0, separator + 3) : "") + "***" + text.substr(at);
  }
  const auto query = shown.find_first_of("?#");  // it may hold a token
  return query == std::string::npos ? shown : shown.substr(0, query) + "?***";
}

std::string scheme_of(const std::string& text) {
  const auto colon = text.find(':');
  if (colon == std::string::npos || colon == 0) refuse(text, "it has no scheme");
  std::string scheme = text.substr(0, colon);
  std::transform(scheme.begin(), scheme.end(), scheme.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return scheme;
}

Endpoint parse_endpoint(const std::string& text) {
  const auto separator = text.find("://");
  if (separator == std::string::npos || separator == 0) refuse(text, "it has no scheme");
  Endpoint endpoint;
  endpoint.scheme = scheme_of(text);

  std::string rest = text.substr(separator + 3);
  const bool mqtt = endpoint.scheme == "mqtts" || endpoint.scheme == "mqtt";
  if (rest.find_first_of(mqtt ? "/?#@ " : "?#@ ") != std::string::npos)
    refuse(text, "only a host and a port may follow the scheme");
  if (const auto slash = rest.find('/'); slash != std::string::npos) {
    endpoint.path = rest.substr(slash);
    rest.erase(slash);
  }
  std::string port;
  if (!rest.empty() && rest.front() == '[') {
    const auto bracket = rest.find(']');
    if (bracket == std::string::npos) refuse(text, "the bracket of the IPv6 address is not closed");
    endpoint.host = rest.substr(1, bracket - 1);
    rest.erase(0, bracket + 1);
    if (!rest.empty() && rest.front() != ':') refuse(text, "only :PORT may follow the bracket");
    if (!rest.empty()) endpoint.port = parse_port(text, rest.substr(1));
  } else {
    const auto colon = rest.find(':');
    endpoint.host = rest.substr(0, colon);
    if (colon != std::string::npos) endpoint.port = parse_port(text, rest.substr(colon + 1));
  }
  if (endpoint.host.empty()) refuse(text, "it names no host");
  return endpoint;
}

}  // namespace hwid::transport
