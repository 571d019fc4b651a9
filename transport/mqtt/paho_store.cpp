#include "transport/mqtt/paho_store.h"

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "transport/mqtt/publish_packet.h"

namespace hwid::transport::mqtt_client {

namespace {

struct Key {
  std::string kind;  // without the 5 of MQTT 5
  bool of_mqtt_5 = false;
  int packet_id = 0;
};

Key parse(const std::string& text) {
  const auto dash = text.find('-');
  if (dash == std::string::npos) return {};
  Key key{text.substr(0, dash)};
  key.of_mqtt_5 = !key.kind.empty() && key.kind.back() == '5';
  if (key.of_mqtt_5) key.kind.pop_back();
  std::from_chars(text.data() + dash + 1, text.data() + text.size(), key.packet_id);
  return key;
}

// Where it was sent with the other version.
void use_version(Outbox::Sent& sent, MqttVersion version) {
  const bool to_mqtt_5 = version == MqttVersion::v5;
  if (parse(sent.key).of_mqtt_5 == to_mqtt_5) return;
  auto packet = to_mqtt_5 ? to_5(sent.packet) : to_3_1_1(sent.packet);
  if (!packet) return;
  sent.packet = std::move(*packet);
  sent.key = (to_mqtt_5 ? "s5-" : "s-") + std::to_string(sent.packet_id);
}

// MQTT 3.1.1, 3.3.1.1: as a duplicate.
bool is_marked(const std::string& packet) {
  constexpr char kDup = 0x08;
  return !packet.empty() && (packet[0] & kDup) != 0;
}

// The same message once more: marked as that, or without a difference.
bool is_again(const std::string& packet, const std::string& before) {
  return is_marked(packet) || packet.compare(1, packet.npos, before, 1, before.npos) == 0;
}

bool is_command(const std::string& key) { return key[0] == 'c'; }

std::string joined(const std::vector<mqtt::string_view>& buffers) {
  std::size_t size = 0;
  for (const auto& buffer : buffers) size += buffer.size();
  std::string bytes;
  bytes.reserve(size);
  for (const auto& buffer : buffers) bytes.append(buffer.data(), buffer.size());
  return bytes;
}

// MQTT 3.1.1, 3.3.1: the fixed header of a PUBLISH.
bool is_qos_2(const std::vector<mqtt::string_view>& buffers) {
  return !buffers.empty() && buffers[0].size() > 0 && (buffers[0][0] >> 1 & 3) == 2;
}

}  // namespace

void PahoStore::open(const std::string& /*client_id*/, const std::string& /*server_uri*/) {
  const std::lock_guard lock(mutex_);
  sent_ = outbox_.in_flight();
  for (auto& sent : sent_) {
    restored_.insert(sent.packet_id);
    use_version(sent, version_);
  }
}

void PahoStore::restored() {
  const std::lock_guard lock(mutex_);
  restoring_ = false;
  sent_.clear();
}

PahoStore::Received PahoStore::detach() {
  const std::lock_guard lock(mutex_);
  detached_ = true;
  return std::exchange(received_, Received());
}

bool PahoStore::contains_key(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (received_.packets.count(text) != 0) return true;
  const Key key = parse(text);
  return std::any_of(sent_.begin(), sent_.end(), [&](const Outbox::Sent& sent) {
    return sent.key == text ||
           (key.kind == "sc" && sent.released && sent.packet_id == key.packet_id);
  });
}

mqtt::string_collection PahoStore::keys() const {
  const std::lock_guard lock(mutex_);
  mqtt::string_collection keys;
  if (restoring_) {
    for (const auto& sent : sent_) keys.push_back(sent.key);
    for (const auto& [key, packet] : received_.packets) keys.push_back(key);
  } else {  // the broker has no session: packet ids begin anew
    received_.packets.clear();
    received_.released.forget();
    restored_.clear();
  }
  return keys;
}

std::string PahoStore::get(const std::string& text) const {
  const std::lock_guard lock(mutex_);
  const auto& held = is_command(text) ? commands_ : received_.packets;
  if (const auto found = held.find(text); found != held.end()) return found->second;
  for (const auto& sent : sent_)
    if (sent.key == text) return sent.packet;
  throw std::out_of_range(text);
}

void PahoStore::put(const std::string& text, const std::vector<mqtt::string_view>& buffers) {
  if (is_command(text)) {
    auto bytes = joined(buffers);
    const std::lock_guard lock(mutex_);
    commands_[text] = std::move(bytes);
    return;
  }
  const Key key = parse(text);
  if (key.kind == "r") return put_received(text, joined(buffers));
  {
    const std::lock_guard lock(mutex_);
    if (detached_) throw std::logic_error("detached");
  }
  if (key.kind == "s")
    outbox_.sent(key.packet_id, text, is_qos_2(buffers) ? joined(buffers) : std::string());
  else if (key.kind == "sc")
    outbox_.released(key.packet_id);
  else
    throw std::logic_error(text);
}

void PahoStore::put_received(const std::string& key, std::string&& packet) {
  {
    const std::lock_guard lock(mutex_);
    const int id = parse(key).packet_id;
    std::string& before = received_.packets[key];
    const bool again = !before.empty() && is_again(packet, before);
    const bool released = before.empty() && is_marked(packet) && received_.released.has(id, packet);
    received_.released.came(id, is_marked(packet));
    const bool by_paho = version_ == MqttVersion::v5;
    if (released && by_paho) note_repeated(packet);
    if (again || released || by_paho) {
      before = std::move(packet);
      return;
    }
    before = packet;
  }
  arrived_(packet);
}

// REQUIRES: the mutex is held.
void PahoStore::note_repeated(const std::string& packet) {
  const auto plain = to_3_1_1(packet);
  auto message = plain ? message_in(*plain) : std::nullopt;
  if (message) repeated_.emplace_back(std::move(message->topic), std::move(message->payload));
}

bool PahoStore::was_released(const std::string& topic, const std::string& payload) {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(repeated_, [&](const auto& message) {
    return message.first == topic && message.second == payload;
  });
  if (found == repeated_.end()) return false;
  repeated_.erase(found);
  return true;
}

void PahoStore::remove(const std::string& text) {
  if (is_command(text)) {
    const std::lock_guard lock(mutex_);
    commands_.erase(text);
    return;
  }
  const Key key = parse(text);
  bool restored = false;
  {
    const std::lock_guard lock(mutex_);
    if (const auto packet = received_.packets.find(text); packet != received_.packets.end()) {
      received_.released.released(key.packet_id, packet->second);
      received_.packets.erase(packet);
    }
    if (detached_ || key.kind != "s") return;
    restored = restored_.erase(key.packet_id) != 0;
  }
  const auto id = outbox_.confirmed(key.packet_id);
  if (id && restored) confirmed_(*id);
}

}  // namespace hwid::transport::mqtt_client
