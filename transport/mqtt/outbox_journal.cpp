// Outbox: what it writes to the journal.
#include <hwid/transport_error.h>

#include "transport/log.h"
#include "transport/mqtt/outbox.h"

namespace hwid::transport::mqtt_client {

namespace {

constexpr std::uint64_t kRewriteAbove = 4UL * 1024 * 1024;
constexpr std::uint64_t kClearAbove = 1024 * 1024UL;

}  // namespace

SpoolRecord Outbox::accepted_record(Id id, const Entry& entry) const {
  SpoolRecord record;
  record.type = SpoolRecord::Type::accepted;
  record.id = id;
  record.message = *entry.message;
  record.keep = entry.in_spool;
  return record;
}

SpoolRecord Outbox::sent_record(Id id, const Entry& entry) const {
  SpoolRecord record;
  record.type = SpoolRecord::Type::sent;
  record.id = id;
  record.packet_id = entry.packet_id;
  record.key = entry.key;
  record.packet = entry.packet;
  return record;
}

Journal::Position Outbox::record(const SpoolRecord& what, Entry& entry, std::uint64_t room) {
  if (journal_->broken()) tidy();
  const auto bytes = what.encode();
  const std::uint64_t others = room_ - (entry.recorded ? entry.room : 0);
  const auto position = journal_->append(bytes, others + room);
  room_ = others + room;
  entry.room = room;
  entry.taken += bytes.size();
  live_bytes_ += bytes.size();
  return position;
}

void Outbox::record_end(Id id, Entry& entry) noexcept {
  if (!entry.recorded) return;
  entry.recorded = false;
  room_ -= entry.room;
  live_bytes_ -= entry.taken;
  // Without this record the message is sent once more after a restart.
  guarded("spool", [&] {
    if (live_bytes_ == 0 && journal_->size() > kClearAbove) return journal_->clear();
    SpoolRecord what;
    what.type = SpoolRecord::Type::finished;
    what.id = id;
    journal_->append(what.encode(), room_);
  });
}

// What is finished takes no more than what is not, and a few MiB. And a journal that failed to
// reach the disk is tried anew. Everything waits meanwhile for the disk to take what is
// unconfirmed, which is spool-max-bytes at most and a little more for each message.
void Outbox::tidy() {
  const bool broken = journal_->broken();
  if (!broken &&
      (journal_->size() < tidy_at_ || journal_->size() < 2 * live_bytes_ + kRewriteAbove))
    return;
  std::vector<std::string> records;
  for (auto& [id, entry] : entries_) {
    if (!entry.recorded) continue;
    const auto first = records.size();
    records.push_back(accepted_record(id, entry).encode());
    if (entry.state == State::sent || entry.state == State::released)
      if (entry.message->qos == Qos::exactly_once)
        records.push_back(sent_record(id, entry).encode());
    if (entry.state == State::released) {
      SpoolRecord what;
      what.type = SpoolRecord::Type::released;
      what.id = id;
      records.push_back(what.encode());
    }
    entry.taken = 0;
    for (auto i = first; i < records.size(); ++i) entry.taken += records[i].size();
  }
  live_bytes_ = 0;
  for (const auto& [id, entry] : entries_)
    if (entry.recorded) live_bytes_ += entry.taken;
  try {
    journal_->rewrite(records, room_);
    tidy_at_ = kRewriteAbove;
  } catch (const Error& error) {
    if (broken) throw;
    log_line(error.what());  // the old one is still good
    tidy_at_ = 2 * journal_->size();
  }
}

}  // namespace hwid::transport::mqtt_client
