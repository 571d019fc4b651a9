#include "transport/proxy.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>

#include "transport/endpoint.h"
#include "transport/scheme_options.h"

namespace hwid::transport {

namespace {

// What may stand in the user info of a URL (RFC 3986, 3.2.1). Paho C hangs at a % without two
// digits behind it.
bool is_user_info(const std::string& text) {
  constexpr const char* kMarks = "-._~!$&'()*+,;=:";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (std::isalnum(c) != 0 || std::string_view(kMarks).find(text[i]) != std::string_view::npos)
      continue;
    if (c != '%' || i + 2 >= text.size() ||
        std::isxdigit(static_cast<unsigned char>(text[i + 1])) == 0 ||
        std::isxdigit(static_cast<unsigned char>(text[i + 2])) == 0)
      return false;
    i += 2;
  }
  return true;
}

// A name or an IPv4 address, or what stood in brackets. Libraries differ about other characters,
// and some show the whole value when they refuse one.
bool is_host(const std::string& text, bool in_brackets) {
  in6_addr address{};
  if (in_brackets) return ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_');
  });
}

std::string percent_decoded(const std::string& text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    decoded += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
    i += 2;
  }
  return decoded;
}

}  // namespace

std::string Proxy::authority() const { return Endpoint{"http", host, port, {}}.authority(); }

std::string Proxy::authorization() const { return percent_decoded(user_info); }

Proxy parse_proxy(const DeviceConfig& config) {
  if (config.proxy.empty()) return {};
  const auto refuse = [&](const char* why) {
    refuse_option(config, "proxy", why,
                  "write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with every other "
                  "character than letters and digits of USER and PASSWORD percent-encoded");
  };
  constexpr const char* kScheme = "http://";
  if (config.proxy.rfind(kScheme, 0) != 0) refuse("it does not begin with http://");
  std::string rest = config.proxy.substr(std::string_view(kScheme).size());
  if (!rest.empty() && rest.back() == '/') rest.pop_back();
  Proxy proxy;
  if (const auto at = rest.find('@'); at != std::string::npos) {
    proxy.user_info = rest.substr(0, at);
    rest.erase(0, at + 1);
    if (proxy.user_info.empty() || !is_user_info(proxy.user_info))
      refuse("user and password are not percent-encoded");
  }
  if (rest.find('/') != std::string::npos) refuse("a path follows the port");
  try {
    const Endpoint endpoint = parse_endpoint(kScheme + rest);
    proxy.host = endpoint.host;
    proxy.port = endpoint.port;
  } catch (const Error&) {  // its text would show the value
    refuse("no host and port follow");
  }
  if (proxy.port == 0) refuse("it has no port");
  if (!is_host(proxy.host, rest.front() == '[')) refuse("its host is no name and no IP address");
  return proxy;
}

}  // namespace hwid::transport
