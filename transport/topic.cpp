#include "transport/topic.h"

#include <hwid/transport_error.h>
#include <openssl/asn1.h>

namespace hwid::transport {

namespace {

void check_common(const char* what, const std::string& text) {
  if (text.empty()) throw Error(ErrorKind::usage, what, "(empty)", "it must not be empty");
  if (!is_mqtt_text(text))
    throw Error(ErrorKind::usage, what, text.substr(0, 40),
                "it is longer than 65535 bytes, or no UTF-8, or contains a zero byte");
}

// Takes the first level off `rest`; false when that was the last one.
bool next_level(std::string_view& rest, std::string_view& level) {
  const auto slash = rest.find('/');
  level = rest.substr(0, slash);
  if (slash == std::string_view::npos) {
    rest = {};
    return false;
  }
  rest.remove_prefix(slash + 1);
  return true;
}

}  // namespace

bool is_mqtt_text(std::string_view text) {
  if (text.size() > kMaxMqttTextBytes || text.find('\0') != std::string_view::npos) return false;
  while (!text.empty()) {
    if (static_cast<unsigned char>(text.front()) < 0x80) {
      text.remove_prefix(1);
      continue;
    }
    unsigned long code_point = 0;  // NOLINT(google-runtime-int): OpenSSL's
    const int length = UTF8_getc(reinterpret_cast<const unsigned char*>(text.data()),
                                 static_cast<int>(text.size()), &code_point);
    if (length <= 0 || code_point > 0x10ffff) return false;
    text.remove_prefix(static_cast<std::size_t>(length));
  }
  return true;
}

void check_topic_name(const std::string& topic) {
  check_common("topic", topic);
  if (topic.find_first_of("+#") != std::string::npos)
    throw Error(ErrorKind::usage, "topic", topic, "+ and # are for subscriptions only",
                "publish to a topic without them");
}

void check_topic_filter(const std::string& filter) {
  check_common("topic filter", filter);
  std::string_view rest = filter;
  std::string_view level;
  for (bool more = true; more;) {
    more = next_level(rest, level);
    if (level == "#" && more)
      throw Error(ErrorKind::usage, "topic filter", filter, "# must be the last level");
    if (level.size() > 1 && level.find_first_of("+#") != std::string_view::npos)
      throw Error(ErrorKind::usage, "topic filter", filter,
                  "+ and # stand for whole levels, not for parts of one");
  }
}

bool topic_matches(std::string_view filter, std::string_view topic) {
  constexpr std::string_view kShare = "$share/";
  if (filter.substr(0, kShare.size()) == kShare) {
    filter.remove_prefix(kShare.size());
    const auto slash = filter.find('/');
    if (slash == std::string_view::npos) return false;
    filter.remove_prefix(slash + 1);
  }
  if (!topic.empty() && topic.front() == '$' && !filter.empty() && filter.front() != '$')
    return false;

  for (;;) {
    std::string_view filter_level;
    std::string_view topic_level;
    const bool more_filter = next_level(filter, filter_level);
    if (filter_level == "#") return true;
    const bool more_topic = next_level(topic, topic_level);
    if (filter_level != "+" && filter_level != topic_level) return false;
    if (!more_topic) return !more_filter || filter == "#";  // a/# matches a
    if (!more_filter) return false;
  }
}

}  // namespace hwid::transport
