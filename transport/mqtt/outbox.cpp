#include "transport/mqtt/outbox.h"

#include <hwid/transport_error.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "transport/log.h"

namespace hwid::transport::mqtt_client {

namespace {

constexpr std::uint64_t kDefaultMaxMessages = 100000;
constexpr std::uint64_t kDefaultMaxBytes = 64UL * 1024 * 1024;
// What AWS IoT takes unconfirmed from one connection; Paho's own lists are searched from the front.
constexpr std::size_t kWindow = 100;
// mosquitto ends the connection of a client with more QoS 2 messages in flight than its
// max_inflight_messages, 20 by default, which MQTT 3.1.1 does not announce.
constexpr int kQos2Window = 10;
// QoS 2 on its way that a fresh socket takes at once.
constexpr std::uint64_t kUnacknowledgedBytes = 32 * 1024UL;

std::uint64_t bytes_of(const Message& message) {
  const auto& properties = message.properties;
  std::uint64_t bytes = message.topic.size() + message.payload.size() +
                        properties.content_type.size() + properties.response_topic.size() +
                        properties.correlation_data.size();
  for (const auto& [name, value] : properties.user) bytes += name.size() + value.size();
  return bytes;
}

std::string hex(unsigned char byte) {
  constexpr char kHex[] = "0123456789ABCDEF";
  return {kHex[byte >> 4], kHex[byte & 15]};
}

std::string sha256_hex(const std::string& text) {
  std::string digest(EVP_MAX_MD_SIZE, '\0');
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), reinterpret_cast<unsigned char*>(digest.data()), &size,
             EVP_sha256(), nullptr);
  std::string result;
  for (unsigned i = 0; i < size; ++i) result += hex(static_cast<unsigned char>(digest[i]));
  return result;
}

}  // namespace

std::string spool_directory(const DeviceConfig& config) {
  constexpr std::size_t kLongest = 100;
  std::string name;
  for (const char c : config.client_id) {
    const auto byte = static_cast<unsigned char>(c);
    const bool safe =
        std::isalnum(byte) != 0 || c == '-' || c == '_' || (c == '.' && !name.empty());
    name += safe ? std::string(1, c) : "%" + hex(byte);
  }
  if (name.size() > kLongest) name = name.substr(0, kLongest) + "~" + sha256_hex(config.client_id);
  return (std::filesystem::path(config.spool_dir) / name).string();
}

Outbox::Outbox(const DeviceConfig& config)
    : max_messages_(config.spool_max_messages.value_or(kDefaultMaxMessages)),
      max_bytes_(config.spool_max_bytes.value_or(kDefaultMaxBytes)),
      drop_oldest_(config.spool_full == "drop-oldest"),
      clean_(config.clean_session) {
  if (config.spool_dir.empty()) return;
  journal_ = std::make_unique<Journal>(spool_directory(config),
                                       [this](std::string_view bytes) { replay(bytes); });
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const auto here = entry++;
    auto& [id, restored] = *here;
    if (restored.state == State::queued && !restored.in_spool) {  // a request of another process
      entries_.erase(here);
      continue;
    }
    restored.bytes = bytes_of(*restored.message);
    restored.room = restored.state == State::queued ? queued_room(restored) : kSmallRecords;
    bytes_ += restored.bytes;
    room_ += restored.room;
    live_bytes_ += restored.taken;
    if (restored.state == State::queued) {
      queue(id, restored);
    } else {
      in_flight_.insert(id);
      packet_ids_[restored.packet_id] = id;
    }
  }
  reserve();
}

// After a restart there is the room that was there before. Not so when the file came from elsewhere
// or its limit was lowered; then QoS 2 would be sent anew at each start, since what became of it
// could not be written down.
void Outbox::reserve() {
  try {
    journal_->reserve(room_);
  } catch (const Error& error) {
    for (const auto& [id, entry] : entries_)
      if (entry.message->qos == Qos::exactly_once) throw;
    log_line(error.what());
  }
}

// For what will be written down about an entry that is queued.
std::uint64_t Outbox::queued_room(const Entry& entry) {
  const bool with_packet = entry.message->qos == Qos::exactly_once;
  return kSmallRecords + (with_packet ? entry.bytes + kSmallRecords : 0);
}

void Outbox::replay(std::string_view bytes) {
  auto record = SpoolRecord::decode(bytes);
  last_id_ = std::max(last_id_, record.id);
  if (record.type == SpoolRecord::Type::accepted) {
    Entry entry;
    entry.message = std::make_shared<const Message>(std::move(record.message));
    entry.in_spool = record.keep;
    entry.recorded = true;
    entry.taken = bytes.size();
    entries_[record.id] = std::move(entry);
    return;
  }
  const auto found = entries_.find(record.id);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  entry.taken += bytes.size();
  switch (record.type) {
    case SpoolRecord::Type::sent:
      entry.state = State::sent;
      entry.packet_id = record.packet_id;
      entry.key = std::move(record.key);
      entry.packet = std::move(record.packet);
      return;
    case SpoolRecord::Type::released:
      entry.state = State::released;
      return;
    case SpoolRecord::Type::requeued:
      entry.state = State::queued;
      return;
    default:
      entries_.erase(found);
  }
}

std::size_t Outbox::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

void Outbox::refuse(const Message& message) const {
  if (bytes_of(message) > max_bytes_)
    throw Error(ErrorKind::full, "publish", message.topic,
                "the message has " + std::to_string(bytes_of(message)) +
                    " bytes, and spool-max-bytes is " + std::to_string(max_bytes_),
                "raise spool-max-bytes, or send less at once");
  throw Error(ErrorKind::full, "publish", message.topic,
              std::to_string(entries_.size()) + " messages with " + std::to_string(bytes_) +
                  " bytes wait to be confirmed by the broker",
              "publish less, or raise spool-max-messages and spool-max-bytes");
}

void Outbox::make_room(std::uint64_t bytes, std::vector<Finished>& dropped) {
  while (entries_.size() >= max_messages_ || bytes_ + bytes > max_bytes_) {
    dropped.push_back(remove(entries_.find(*queued_.begin())));
    dropped.back().error =
        Error(ErrorKind::full, "publish", dropped.back().message->topic,
              "it was dropped for a newer message", "raise spool-max-messages or spool-max-bytes");
  }
}

Outbox::Id Outbox::accept(Message message, Keep keep, Ended ended) {
  Entry entry;
  entry.bytes = bytes_of(message);
  entry.in_spool = in_spool() && keep == Keep::in_spool && message.qos != Qos::at_most_once;
  entry.message = std::make_shared<const Message>(std::move(message));
  entry.ended = std::move(ended);
  Id id = 0;
  Journal::Position position = 0;
  {
    const std::lock_guard lock(mutex_);
    const bool fits = entries_.size() < max_messages_ && bytes_ + entry.bytes <= max_bytes_;
    const bool would_fit = entries_.size() - (drop_oldest_ ? queued_.size() : 0) < max_messages_ &&
                           bytes_ - (drop_oldest_ ? queued_bytes_ : 0) + entry.bytes <= max_bytes_;
    if (!fits && !would_fit) refuse(*entry.message);
    id = ++last_id_;
    if (entry.in_spool) {
      entry.room = queued_room(entry);
      tidy();
      position = record(accepted_record(id, entry), entry, entry.room);
      entry.recorded = true;
    }
    make_room(entry.bytes, dropped_);
    bytes_ += entry.bytes;
    queue(id, entry);
    entries_.emplace(id, std::move(entry));
  }
  if (position == 0) return id;
  try {
    journal_->sync(position);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(id);
    // Delivered or dropped meanwhile, on another thread: `ended` tells that, and only that.
    if (found == entries_.end()) return id;
    found->second.ended = nullptr;
    if (found->second.state == State::queued) remove(found);
    throw;
  }
  return id;
}

std::vector<Outbox::Finished> Outbox::take_dropped() {
  const std::lock_guard lock(mutex_);
  return std::exchange(dropped_, {});
}

bool Outbox::qos_2_may_go(std::uint64_t bytes) const {
  int count = 0;
  std::uint64_t unacknowledged = 0;
  for (const Id id : in_flight_) {
    const Entry& entry = entries_.at(id);
    if (entry.message->qos != Qos::exactly_once) continue;
    ++count;
    if (entry.state != State::released) unacknowledged += entry.bytes;
  }
  return count < kQos2Window &&
         (clean_ || unacknowledged == 0 || unacknowledged + bytes <= kUnacknowledgedBytes);
}

std::optional<std::pair<Outbox::Id, Outbox::SharedMessage>> Outbox::hand_over() {
  const std::lock_guard lock(mutex_);
  if (queued_.empty() || in_flight_.size() >= kWindow) return std::nullopt;
  const Id id = *queued_.begin();
  if (losses_ > 0 && !in_flight_.empty()) return std::nullopt;
  Entry& entry = entries_.at(id);
  if (entry.message->qos == Qos::exactly_once && !qos_2_may_go(entry.bytes)) return std::nullopt;
  unqueue(id, entry);
  in_flight_.insert(id);
  entry.state = State::handed;
  if (entry.message->qos != Qos::at_most_once) handed_.push_back(id);
  return std::make_pair(id, entry.message);
}

void Outbox::requeue(Entries::iterator entry) {
  in_flight_.erase(entry->first);
  packet_ids_.erase(entry->second.packet_id);
  entry->second.state = State::queued;
  entry->second.packet_id = 0;
  entry->second.key.clear();
  entry->second.packet.clear();
  queue(entry->first, entry->second);
}

void Outbox::queue(Id id, const Entry& entry) {
  queued_.insert(id);
  queued_bytes_ += entry.bytes;
}

void Outbox::unqueue(Id id, const Entry& entry) {
  if (queued_.erase(id) != 0) queued_bytes_ -= entry.bytes;
}

void Outbox::take_back(Id id) {
  const std::lock_guard lock(mutex_);
  handed_.erase(std::remove(handed_.begin(), handed_.end(), id), handed_.end());
  const auto found = entries_.find(id);
  if (found != entries_.end() && found->second.state == State::handed) requeue(found);
}

void Outbox::sent(int packet_id, const std::string& key, const std::string& packet) {
  Journal::Position position = 0;
  {
    const std::lock_guard lock(mutex_);
    if (packet_ids_.count(packet_id) != 0) return;  // sent again
    if (handed_.empty())
      throw Error(ErrorKind::environment, "publish", "packet " + std::to_string(packet_id),
                  "it belongs to no message");
    const Id id = handed_.front();
    handed_.pop_front();
    Entry& entry = entries_.at(id);
    entry.state = State::sent;
    entry.packet_id = packet_id;
    packet_ids_[packet_id] = id;
    if (entry.message->qos != Qos::exactly_once) return;
    entry.key = key;
    entry.packet = packet;
    if (!in_spool()) return;
    // A request is not kept, but its handshake must not be mistaken for that of another message
    // that gets this packet id after a restart.
    if (!entry.recorded) {
      record(accepted_record(id, entry), entry, kSmallRecords);
      entry.recorded = true;
    }
    position = record(sent_record(id, entry), entry, kSmallRecords);
  }
  journal_->sync(position);
}

void Outbox::released(int packet_id) {
  Journal::Position position = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto found = packet_ids_.find(packet_id);
    if (found == packet_ids_.end()) return;
    Entry& entry = entries_.at(found->second);
    losses_ = 0;
    if (std::exchange(entry.state, State::released) == State::released || !entry.recorded) return;
    SpoolRecord what;
    what.type = SpoolRecord::Type::released;
    what.id = found->second;
    position = record(what, entry, kSmallRecords);
  }
  journal_->sync(position);
}

std::optional<Outbox::Id> Outbox::confirmed(int packet_id) {
  const std::lock_guard lock(mutex_);
  const auto found = packet_ids_.find(packet_id);
  if (found == packet_ids_.end()) return std::nullopt;
  const Id id = found->second;
  Entry& entry = entries_.at(id);
  entry.confirmed = true;
  losses_ = 0;
  packet_ids_.erase(found);
  record_end(id, entry);
  return id;
}

bool Outbox::is_sent(Id id) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  return found != entries_.end() && !found->second.confirmed &&
         (found->second.state == State::sent || found->second.state == State::released);
}

Outbox::Finished Outbox::remove(Entries::iterator entry) {
  const Id id = entry->first;
  Entry& removed = entry->second;
  record_end(id, removed);
  unqueue(id, removed);
  in_flight_.erase(id);
  handed_.erase(std::remove(handed_.begin(), handed_.end(), id), handed_.end());
  if (!removed.confirmed) packet_ids_.erase(removed.packet_id);
  bytes_ -= removed.bytes;
  Finished finished{removed.message, std::move(removed.ended), removed.packet_id, std::nullopt};
  entries_.erase(entry);
  return finished;
}

std::optional<Outbox::Finished> Outbox::finish(Id id) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return std::nullopt;
  if (found->second.message->qos != Qos::at_most_once) losses_ = 0;  // the broker answered
  return remove(found);
}

std::vector<Outbox::Sent> Outbox::in_flight() const {
  const std::lock_guard lock(mutex_);
  std::vector<Sent> sent;
  for (const auto& [packet_id, id] : packet_ids_) {
    const Entry& entry = entries_.at(id);
    if (entry.message->qos == Qos::exactly_once)
      sent.push_back({entry.key, entry.packet, packet_id, entry.state == State::released});
  }
  return sent;
}

std::vector<Outbox::Finished> Outbox::abandon(bool at_end) {
  const std::lock_guard lock(mutex_);
  std::vector<Finished> finished;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const auto here = entry++;
    Entry& left = here->second;
    if (left.confirmed || !left.recorded) {
      finished.push_back(remove(here));
    } else if (at_end && left.ended) {
      finished.push_back({left.message, std::exchange(left.ended, nullptr), 0, std::nullopt});
    }
  }
  return finished;
}

}  // namespace hwid::transport::mqtt_client
