// Outbox: when the connection or the session is lost.
#include <hwid/transport_error.h>

#include <algorithm>

#include "transport/log.h"
#include "transport/mqtt/outbox.h"

namespace hwid::transport::mqtt_client {

namespace {

// Networks that break right after the CONNACK five times in a row are rarer than such messages.
constexpr int kMostLosses = 5;

}  // namespace

void Outbox::connection_broke(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  broke_ = reason;
}

// The entry for which the broker seems to end the connection.
std::optional<Outbox::Id> Outbox::suspect(const std::string& reason) {
  if (reason.empty()) return std::nullopt;
  const auto oldest = std::find_if(in_flight_.begin(), in_flight_.end(), [&](Id id) {
    const Entry& entry = entries_.at(id);
    return !entry.confirmed && entry.message->qos != Qos::at_most_once;
  });
  const Id id = oldest == in_flight_.end() ? 0 : *oldest;
  if (std::exchange(suspect_, id) != id) losses_ = 0;
  if (id == 0 || ++losses_ < kMostLosses) return std::nullopt;
  losses_ = 0;
  return id;
}

Error Outbox::gave_up(const Entry& entry, const std::string& reason) {
  return {ErrorKind::refused, "publish", entry.message->topic,
          "the connection broke " + std::to_string(kMostLosses) +
              " times in a row when this message of " + std::to_string(entry.bytes) +
              " bytes was sent, and the broker confirmed nothing in between; it is given up (" +
              reason + ")",
          "check whether the broker lets this client publish to the topic, and takes messages of "
          "that size"};
}

std::vector<Outbox::Finished> Outbox::connection_lost(bool clean) {
  const std::lock_guard lock(mutex_);
  std::vector<Finished> finished;
  handed_.clear();
  const std::string reason = std::exchange(broke_, {});
  const auto culprit = clean ? std::nullopt : suspect(reason);  // nothing is sent again
  for (const Id id : std::set<Id>(in_flight_)) {
    const auto found = entries_.find(id);
    const Entry& entry = found->second;
    if (entry.confirmed) {
      finished.push_back(remove(found));
    } else if (id == culprit) {
      auto error = gave_up(entry, reason);
      finished.push_back(remove(found));
      finished.back().error = std::move(error);
    } else if (entry.message->qos == Qos::at_most_once || clean) {
      finished.push_back(remove(found));
      finished.back().error =
          Error(ErrorKind::closed, "publish", finished.back().message->topic,
                "the connection broke before the message was confirmed",
                clean ? "publish again, or set clean-session = no" : "publish again");
    } else if (entry.state == State::handed || entry.message->qos == Qos::at_least_once) {
      requeue(found);
    }
  }
  return finished;
}

std::vector<Outbox::Finished> Outbox::session_lost() {
  std::vector<Finished> finished;
  Journal::Position position = 0;
  {
    const std::lock_guard lock(mutex_);
    for (const Id id : std::set<Id>(in_flight_)) {
      const auto found = entries_.find(id);
      Entry& entry = found->second;
      const bool stale =
          in_spool() && !entry.in_spool && !entry.ended;  // another process's request
      if (entry.state == State::released || stale) {
        finished.push_back(remove(found));
        continue;
      }
      requeue(found);
      if (!entry.recorded) continue;
      SpoolRecord what;
      what.type = SpoolRecord::Type::requeued;
      what.id = id;
      // Without this record the loss is found out again after a restart.
      guarded("spool", [&] { position = record(what, entry, queued_room(entry)); });
    }
  }
  if (position != 0) guarded("spool", [&] { journal_->sync(position); });
  return finished;
}

}  // namespace hwid::transport::mqtt_client
