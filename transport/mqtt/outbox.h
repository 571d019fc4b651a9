#pragma once

#include <hwid/transport.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "transport/journal.h"
#include "transport/mqtt/spool_record.h"

namespace hwid::transport::mqtt_client {

// The messages that publish() took and the broker has not confirmed: the one queue of a session,
// in memory, and with spool-dir in a journal, too. Paho gets what it may have in flight, and sees
// the same entries as its persistence (paho_store.h); it never has messages that are not here.
//
// The way of an entry: queued -> handed (to Paho) -> sent (Paho gave it a packet id and writes it)
// -> for QoS 2 released (PUBREC came, PUBREL is due) -> confirmed -> finished. When the connection
// is lost:
//   QoS 0   fails: it cannot be known whether it was written;
//   QoS 1   is queued again, in its old place. Paho could send it again by itself, but when the
//           socket does not take all of them at once, it begins again with the first one and leaves
//           the last ones out, and newer messages overtake them (MQTTProtocol_retries, 1.3.12);
//   QoS 2   stays sent, with its packet id, by which alone the broker can tell that it has it.
//           Paho sends it again; few bytes may be on their way at a time, so that the socket takes
//           them at once.
// When the broker has lost the session: QoS 2 that it had not yet acknowledged is queued again,
// and what it had acknowledged counts as delivered.
//
// A message for which the broker ends the connection would stand in the way of all others for ever.
// So one that was the oldest in flight when the connection broke five times, with nothing confirmed
// in between, is given up. After the first time the others wait until something is confirmed, so
// that the one that is given up was alone on its way.
//
// What is on the disk before what: a message, before accept() returns; the packet id of a QoS 2
// message, before it is sent; a PUBREC, before its PUBREL. That a message is finished need not be:
// it is at worst sent again (QoS 1), or released again (QoS 2).
//
// Threads: any. `ended` functions are only stored here.
class Outbox {
 public:
  using Id = std::uint64_t;
  using Ended = std::function<void(const Delivery*, const Error*)>;
  using SharedMessage = std::shared_ptr<const Message>;
  enum class Keep { in_memory, in_spool };  // in_spool: where there is one, and for QoS 1 and 2

  struct Finished {
    SharedMessage message;
    Ended ended;
    int packet_id = 0;
    std::optional<Error> error;
  };
  struct Sent {  // for Paho's persistence
    std::string key;
    std::string packet;
    int packet_id = 0;
    bool released = false;
  };

  // Reads the spool where the configuration names one. Throws Error, of kind full where it holds
  // QoS 2 and there is no room for what has to be written down about that.
  explicit Outbox(const DeviceConfig& config);

  bool in_spool() const noexcept { return journal_ != nullptr; }
  std::size_t size() const;
  bool empty() const { return size() == 0; }

  // Takes a message; returns when it is as safe as it will be. Throws Error of kind full.
  Id accept(Message message, Keep keep, Ended ended);
  // What spool-full = drop-oldest gave up since the last call.
  std::vector<Finished> take_dropped();

  // The next message for Paho, now handed; none where the window is closed or nothing waits.
  std::optional<std::pair<Id, SharedMessage>> hand_over();
  // Paho did not take it.
  void take_back(Id id);
  // Paho sends a message under this packet id: the oldest one handed, or one sent again.
  void sent(int packet_id, const std::string& key, const std::string& packet);
  void released(int packet_id);
  // The broker has it; its id, where it was not known before.
  std::optional<Id> confirmed(int packet_id);
  // Removes the entry; nothing where there is none.
  std::optional<Finished> finish(Id id);
  // Paho sends it again by itself: no call of ours will tell its end.
  bool is_sent(Id id) const;

  // The broker or the network ended the connection; connection_lost() follows. Not to be called
  // where we ended it.
  void connection_broke(const std::string& reason);
  // What fails now. `clean`: all that Paho had, since the session ended.
  std::vector<Finished> connection_lost(bool clean);
  // What is over now.
  std::vector<Finished> session_lost();
  // QoS 2 in flight.
  std::vector<Sent> in_flight() const;
  // Removes what no spool keeps; at the end of the transport, forgets who waits for the rest.
  std::vector<Finished> abandon(bool at_end);

 private:
  static constexpr std::uint64_t kSmallRecords = 128;  // those without a message

  enum class State { queued, handed, sent, released };
  struct Entry {
    SharedMessage message;
    Ended ended;
    std::uint64_t bytes = 0;
    State state = State::queued;
    bool in_spool = false;  // to be kept over a restart
    bool recorded = false;  // the journal knows it
    bool confirmed = false;
    int packet_id = 0;
    std::string key;          // QoS 2: as Paho calls it
    std::string packet;       // QoS 2
    std::uint64_t room = 0;   // that the journal keeps for its end
    std::uint64_t taken = 0;  // of the journal
  };
  using Entries = std::map<Id, Entry>;

  void replay(std::string_view record);
  void reserve();
  static std::uint64_t queued_room(const Entry& entry);
  void make_room(std::uint64_t bytes, std::vector<Finished>& dropped);
  Finished remove(Entries::iterator entry);
  void requeue(Entries::iterator entry);
  void queue(Id id, const Entry& entry);
  void unqueue(Id id, const Entry& entry);
  Journal::Position record(const SpoolRecord& what, Entry& entry, std::uint64_t room);
  void record_end(Id id, Entry& entry) noexcept;
  void tidy();
  SpoolRecord accepted_record(Id id, const Entry& entry) const;
  SpoolRecord sent_record(Id id, const Entry& entry) const;
  bool qos_2_may_go(std::uint64_t bytes) const;
  std::optional<Id> suspect(const std::string& reason);
  static Error gave_up(const Entry& entry, const std::string& reason);
  [[noreturn]] void refuse(const Message& message) const;

  const std::uint64_t max_messages_;
  const std::uint64_t max_bytes_;
  const bool drop_oldest_;
  const bool clean_;  // nothing is sent again
  mutable std::mutex mutex_;
  Entries entries_;
  std::set<Id> queued_;
  std::deque<Id> handed_;         // QoS 1 and 2, in Paho's order
  std::map<int, Id> packet_ids_;  // sent
  std::set<Id> in_flight_;        // handed, sent, released
  std::vector<Finished> dropped_;
  std::string broke_;  // why, until connection_lost()
  Id suspect_ = 0;     // in flight at `losses_` breaks in a row
  int losses_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t queued_bytes_ = 0;
  std::uint64_t live_bytes_ = 0;  // of the journal
  std::uint64_t room_ = 0;
  std::uint64_t tidy_at_ = 0;
  Id last_id_ = 0;
  std::unique_ptr<Journal> journal_;
};

// Where the spool of a client id is: below spool-dir, under a name that is safe for a file.
std::string spool_directory(const DeviceConfig& config);

}  // namespace hwid::transport::mqtt_client
