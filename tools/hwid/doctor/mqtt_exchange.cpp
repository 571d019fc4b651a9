#include "tools/hwid/doctor/mqtt_exchange.h"

#include <openssl/ssl.h>
#include <poll.h>

#include <cstdint>
#include <vector>

#include "transport/cloud/rules.h"
#include "transport/tcp_connection.h"

namespace hwid::tool::doctor {
namespace {

using transport::DeviceConfig;
using transport::MqttVersion;
using Bytes = std::vector<std::uint8_t>;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{8};
constexpr std::size_t kMostBody = std::size_t{1} << 20;

enum Type : std::uint8_t {
  kConnect = 0x10,
  kConnack = 0x20,
  kSubscribe = 0x82,
  kSuback = 0x90,
  kDisconnect = 0xe0
};

void put_u16(Bytes& out, std::size_t value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8));
  out.push_back(static_cast<std::uint8_t>(value));
}
void put_text(Bytes& out, const std::string& text) {
  put_u16(out, text.size());
  out.insert(out.end(), text.begin(), text.end());
}

// MQTT 3.1.1, 2.2: type, remaining length in groups of seven bits, body.
Bytes packet(std::uint8_t type, const Bytes& body) {
  Bytes out = {type};
  std::size_t left = body.size();
  do {
    const auto group = static_cast<std::uint8_t>(left & 0x7f);
    left >>= 7;
    out.push_back(static_cast<std::uint8_t>(group | (left != 0 ? 0x80 : 0)));
  } while (left != 0);
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

Bytes connect_packet(const DeviceConfig& config, const std::string& user) {
  constexpr std::uint32_t kUsualExpiry = 24 * 3600;  // as the transport has it: conf/device.conf
  const bool is_v5 = config.mqtt_version == MqttVersion::v5;
  Bytes body;
  put_text(body, "MQTT");
  body.push_back(is_v5 ? 5 : 4);
  body.push_back(
      static_cast<std::uint8_t>((config.clean_session ? 0x02 : 0) | (user.empty() ? 0 : 0x80)));
  put_u16(body, static_cast<std::size_t>(config.keep_alive.count()));
  if (is_v5 && config.clean_session) body.push_back(0);
  if (is_v5 && !config.clean_session) {
    // Without it the session, and what waits in it, would end with this connection.
    const auto expiry = config.session_expiry
                            ? static_cast<std::uint32_t>(config.session_expiry->count())
                            : kUsualExpiry;
    body.push_back(5);
    body.push_back(0x11);
    put_u16(body, expiry >> 16);
    put_u16(body, expiry & 0xffff);
  }
  put_text(body, config.client_id);
  if (!user.empty()) put_text(body, user);
  return packet(kConnect, body);
}

Bytes subscribe_packet(const DeviceConfig& config) {
  Bytes body;
  put_u16(body, 1);  // packet identifier
  if (config.mqtt_version == MqttVersion::v5) body.push_back(0);
  put_text(body, config.topics_subscribe);
  body.push_back(static_cast<std::uint8_t>(config.qos));
  return packet(kSubscribe, body);
}

struct Packet {
  std::uint8_t type = 0;  // 0: none came
  Bytes body;
  bool closed = false;  // else it was the time
};

class Connection {
 public:
  explicit Connection(const transport::TlsSettings& settings)
      : deadline_(Clock::now() + kPatience),
        client_(settings),
        tcp_(transport::connect_tcp(settings.endpoint, settings.proxy, deadline_,
                                    settings.addresses)) {
    is_open_ = tcp_.result == transport::TcpResult::connected &&
               client_.failed_at() == transport::TlsClient::Step::ready &&
               client_.handshake(tcp_.socket, deadline_) == transport::TlsClient::Result::done;
  }

  bool is_open() const noexcept { return is_open_; }

  bool send(const Bytes& bytes) {
    return run(
        [&] { return SSL_write(client_.ssl(), bytes.data(), static_cast<int>(bytes.size())); });
  }

  // The next packet of that type, or DISCONNECT; others are passed over.
  Packet receive(std::uint8_t type) {
    for (;;) {
      Packet packet;
      if (!read(&packet.type, 1) || !read_body(packet.body)) return {0, {}, closed_};
      const std::uint8_t kind = packet.type & 0xf0;
      if (kind == type || kind == kDisconnect) return packet;
    }
  }

 private:
  template <typename Call>
  bool run(Call call) {
    for (;;) {
      const int result = call();
      if (result > 0) return true;
      const int error = SSL_get_error(client_.ssl(), result);
      const bool waits = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
      closed_ = !waits;
      if (!waits) return false;
      const short events = error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
      if (!transport::wait_for(tcp_.socket.get(), events, deadline_)) return false;
    }
  }

  bool read(std::uint8_t* to, std::size_t size) {
    for (std::size_t at = 0; at < size;) {
      int got = 0;
      const bool good =
          run([&] { return got = SSL_read(client_.ssl(), to + at, static_cast<int>(size - at)); });
      if (!good) return false;
      at += static_cast<std::size_t>(got);
    }
    return true;
  }

  bool read_body(Bytes& body) {
    std::size_t size = 0;
    for (int shift = 0;; shift += 7) {
      std::uint8_t byte = 0;
      if (shift > 21 || !read(&byte, 1)) return false;
      size |= static_cast<std::size_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) break;
    }
    if (size > kMostBody) return false;
    body.resize(size);
    return read(body.data(), size);
  }

  transport::Deadline deadline_;
  transport::TlsClient client_;
  transport::TcpConnection tcp_;
  bool is_open_ = false;
  bool closed_ = false;
};

struct Meaning {
  int code;
  MqttFault fault;
  const char* text;
};
// MQTT 3.1.1, table 3.1, and MQTT 5, 3.2.2.2.
constexpr Meaning kMeanings[] = {{1, MqttFault::kVersion, "unacceptable protocol version"},
                                 {2, MqttFault::kClientId, "identifier rejected"},
                                 {3, MqttFault::kUnavailable, "server unavailable"},
                                 {4, MqttFault::kPassword, "bad user name or password"},
                                 {5, MqttFault::kNotAuthorized, "not authorized"},
                                 {0x84, MqttFault::kVersion, "unsupported protocol version"},
                                 {0x85, MqttFault::kClientId, "client identifier not valid"},
                                 {0x86, MqttFault::kPassword, "bad user name or password"},
                                 {0x87, MqttFault::kNotAuthorized, "not authorized"},
                                 {0x88, MqttFault::kUnavailable, "server unavailable"},
                                 {0x89, MqttFault::kUnavailable, "server busy"},
                                 {0x8a, MqttFault::kNotAuthorized, "banned"},
                                 {0x8e, MqttFault::kTaken, "session taken over"},
                                 {0x97, MqttFault::kUnavailable, "quota exceeded"}};

MqttAnswer meaning_of(const char* packet, int code) {
  for (const Meaning& meaning : kMeanings) {
    if (meaning.code == code)
      return {meaning.fault,
              std::string(packet) + " " + std::to_string(code) + ", " + meaning.text};
  }
  return {MqttFault::kRefused, std::string(packet) + " " + std::to_string(code)};
}

MqttAnswer silence(const Packet& packet, const char* instead) {
  return packet.closed
             ? MqttAnswer{MqttFault::kClosed,
                          std::string("the broker closed the connection instead of ") + instead}
             : MqttAnswer{MqttFault::kNoAnswer, std::string("no ") + instead + " within " +
                                                    std::to_string(kPatience.count()) + " seconds"};
}

MqttAnswer answer_to_connect(Connection& connection) {
  const Packet packet = connection.receive(kConnack);
  if (packet.type == 0) return silence(packet, "CONNACK");
  if ((packet.type & 0xf0) == kDisconnect)
    return meaning_of("DISCONNECT", packet.body.empty() ? 0 : packet.body[0]);
  const int code = packet.body.size() < 2 ? -1 : packet.body[1];
  return code == 0 ? MqttAnswer() : meaning_of("CONNACK", code);
}

MqttAnswer answer_to_subscribe(Connection& connection, const std::string& filter) {
  const Packet packet = connection.receive(kSuback);
  if (packet.type == 0)
    return {packet.closed ? MqttFault::kSubscribeRefused : MqttFault::kNoAnswer,
            silence(packet, "SUBACK").text + " for " + filter};
  if ((packet.type & 0xf0) == kDisconnect) {
    const int code = packet.body.empty() ? 0 : packet.body[0];
    MqttAnswer answer = meaning_of("DISCONNECT", code);
    if (answer.fault == MqttFault::kNotAuthorized) answer.fault = MqttFault::kSubscribeRefused;
    return answer;
  }
  const int code = packet.body.empty() ? 0x80 : packet.body.back();
  if (code < 0x80) return {};
  return {MqttFault::kSubscribeRefused, "SUBACK " + std::to_string(code) + " for " + filter};
}

}  // namespace

MqttAnswer exchange_mqtt(const transport::TlsSettings& settings, const DeviceConfig& config) {
  Connection connection(settings);
  if (!connection.is_open()) return {MqttFault::kNoAnswer, "the second TLS connection failed"};
  const std::string user = transport::cloud::user_name_of(config, settings.endpoint);
  if (!connection.send(connect_packet(config, user)))
    return {MqttFault::kClosed, "the broker closed the connection before CONNECT"};
  MqttAnswer answer = answer_to_connect(connection);
  if (answer.fault != MqttFault::kNone) return answer;
  if (!config.topics_subscribe.empty() && connection.send(subscribe_packet(config)))
    answer = answer_to_subscribe(connection, config.topics_subscribe);
  (void)connection.send(packet(kDisconnect, {}));
  return answer;
}

}  // namespace hwid::tool::doctor
