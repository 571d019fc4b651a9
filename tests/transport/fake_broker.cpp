#include "fake_broker.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

namespace hwid::test {

namespace {

enum Type {
  kConnect = 1,
  kPublish = 3,
  kPubrel = 6,
  kSubscribe = 8,
  kUnsubscribe = 10,
  kPing = 12
};

constexpr int kLookMs = 50;

bool ready(int fd, short events, const std::atomic<bool>& stopped) {
  while (!stopped) {
    pollfd waiting{fd, events, 0};
    if (::poll(&waiting, 1, kLookMs) > 0) return true;
  }
  return false;
}

std::string two_bytes(std::size_t value) {
  return {static_cast<char>(value >> 8 & 0xff), static_cast<char>(value & 0xff)};
}

}  // namespace

std::string field(const std::string& text) { return two_bytes(text.size()) + text; }

transport::DeviceConfig config_of(const FakeBroker& broker, int version) {
  transport::DeviceConfig config;
  config.endpoint = "mqtt://127.0.0.1:" + std::to_string(broker.port());
  config.allow_plaintext = true;
  config.client_id = "victim";
  config.mqtt_version = version == 5 ? transport::MqttVersion::v5 : transport::MqttVersion::v3_1_1;
  return config;
}

std::string packet(int header, const std::string& body) {
  std::string bytes(1, static_cast<char>(header));
  std::size_t length = body.size();
  do {
    const auto more = length > 127 ? 128 : 0;
    bytes += static_cast<char>((length & 127) | more);
    length >>= 7;
  } while (length > 0);
  return bytes + body;
}

std::string connack(int version, bool session_present, const std::string& properties) {
  std::string body = {static_cast<char>(session_present ? 1 : 0), 0};
  if (version == 5) body += static_cast<char>(properties.size()) + properties;
  return packet(0x20, body);
}

std::string publish(int version, int qos, int packet_id, const std::string& topic,
                    const std::string& payload, bool dup) {
  std::string body = field(topic);
  if (qos > 0) body += two_bytes(static_cast<std::size_t>(packet_id));
  if (version == 5) body += '\0';
  return packet(0x30 | qos << 1 | (dup ? 8 : 0), body + payload);
}

std::string FakeBroker::Packet::packet_id() const {
  const auto length = static_cast<std::size_t>(static_cast<unsigned char>(body.at(0)) << 8 |
                                               static_cast<unsigned char>(body.at(1)));
  return body.substr(2 + length, 2);
}

bool FakeBroker::Connection::read_bytes(char* to, std::size_t size) {
  while (size > 0) {
    if (!ready(fd_, POLLIN, stopped_)) return false;
    const ssize_t got = ::recv(fd_, to, size, 0);
    if (got <= 0) return false;
    to += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

bool FakeBroker::Connection::read(Packet& packet) {
  char byte = 0;
  if (!read_bytes(&byte, 1)) return false;
  packet.header = static_cast<std::uint8_t>(byte);
  std::size_t length = 0;
  int shift = 0;
  do {
    if (!read_bytes(&byte, 1)) return false;
    length |= static_cast<std::size_t>(byte & 127) << shift;
    shift += 7;
  } while ((byte & 128) != 0);
  packet.body.resize(length);
  return read_bytes(packet.body.data(), length);
}

bool FakeBroker::Connection::write(const std::string& bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    if (!ready(fd_, POLLOUT, stopped_)) return false;
    const ssize_t sent =
        ::send(fd_, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent <= 0) return false;
    done += static_cast<std::size_t>(sent);
  }
  return true;
}

bool FakeBroker::Connection::accept(const std::string& connack) {
  Packet connect;
  return read(connect) && connect.type() == kConnect && write(connack);
}

void FakeBroker::Connection::serve(int version, const std::function<bool(const Packet&)>& until) {
  Packet got;
  while (read(got)) {
    if (until && until(got)) return;
    const std::string none = version == 5 ? std::string(1, '\0') : std::string();
    switch (got.type()) {
      case kPublish:
        if (got.qos() == 1) write(packet(0x40, got.packet_id()));
        if (got.qos() == 2) write(packet(0x50, got.packet_id()));
        break;
      case kPubrel:
        write(packet(0x70, got.body.substr(0, 2)));
        break;
      case kSubscribe:
        write(packet(0x90, got.body.substr(0, 2) + none + '\1'));
        break;
      case kUnsubscribe:
        write(packet(0xb0, got.body.substr(0, 2).append(none).append(none)));
        break;
      case kPing:
        write(packet(0xd0, ""));
        break;
      default:
        break;
    }
  }
}

FakeBroker::FakeBroker(Script script)
    : script_(std::move(script)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener_, generic, size) != 0 || ::listen(listener_, 16) != 0 ||
      ::getsockname(listener_, generic, &size) != 0)
    throw std::runtime_error("the fake broker has no port");
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { run(); });
}

FakeBroker::~FakeBroker() {
  stopped_ = true;
  thread_.join();
  ::close(listener_);
}

void FakeBroker::run() {
  while (ready(listener_, POLLIN, stopped_)) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    Connection connection(fd, stopped_);
    script_(connection, ++connections_);
    ::close(fd);
  }
}

}  // namespace hwid::test
