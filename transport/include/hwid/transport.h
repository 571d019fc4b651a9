#pragma once

#include <hwid/device_config.h>
#include <hwid/transport_error.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

// How a device talks to its cloud or broker with a key that may live in hardware.
//
//   auto config = DeviceConfig::read("device.conf");
//   auto transport = open(config);
//   transport->subscribe("things/7/resp", Qos::at_least_once, [](const Message& m) { ... });
//   transport->connect().get();
//   transport->publish({.topic = "things/7/req", .payload = "hello"}).get();
namespace hwid::transport {

// MQTT 5 properties of a message; a scheme or version without them refuses a message that has any.
struct Properties {
  std::string content_type;
  std::string response_topic;
  std::string correlation_data;
  std::optional<std::chrono::seconds> message_expiry;
  std::vector<std::pair<std::string, std::string>> user;

  bool empty() const noexcept {
    return content_type.empty() && response_topic.empty() && correlation_data.empty() &&
           !message_expiry && user.empty();
  }
};

struct Message {
  std::string topic;
  std::string payload;  // any bytes
  Qos qos = Qos::at_least_once;
  bool retain = false;
  Properties properties = {};
};

struct Delivery {
  int packet_id = 0;    // 0 for QoS 0
  int reason_code = 0;  // MQTT 5, e.g. 16: nobody is subscribed
};

enum class State {
  connecting,   // an attempt begins
  connected,    // the first time
  interrupted,  // the connection, or an attempt to get it back, was lost: `reason`; retried
  resumed,      // connected again after an interruption
  closed,       // no connection, and none is tried: close(), or connect() failed with `reason`
};

struct StateChange {
  State state = State::closed;
  bool session_present = false;  // connected, resumed: the broker had kept the session
  std::string reason;            // interrupted, closed
};

using MessageHandler = std::function<void(const Message&)>;
using StateHandler = std::function<void(const StateChange&)>;

// A connection to one endpoint, kept up until close().
//
// Threads: every method may be called from any thread, and from a handler. Handlers run one at a
// time, in order, on a thread that holds no lock: a handler may block, may wait for a future of
// this transport, may close it, and may destroy it. The transports of a process share a few
// threads; where handlers block them all, more are added. An exception that leaves a handler is
// logged to stderr, and the next message comes.
//
// Processes: a transport has threads, which fork() does not copy: open it after the fork.
//
// Failure: futures hold an Error. Nothing else is thrown (but std::bad_alloc).
//
// Interruptions: after the first success the connection is re-established by itself, with capped
// full-jitter backoff; certificate and key are opened anew at each attempt, so that renewed ones
// are used. What is published or subscribed meanwhile waits. A message that was on its way when the
// connection broke is sent again where the session persists; with clean-session its future holds an
// Error of kind closed.
//
// What was accepted: publish() returns when it has accepted the message, or refused it. With
// spool-dir an accepted message of QoS 1 or 2 is on the disk (fsync) and outlives this process, a
// power failure and an interruption; it is sent by the next transport with the same spool-dir and
// client-id, whose connect() need not even have succeeded before. Only one process has a client
// id's spool: open() refuses a second one. Without spool-dir messages wait in memory, within the
// same bounds (spool-max-messages, spool-max-bytes; spool-full = drop-oldest gives the oldest one
// that was not yet sent up for a new one).
//   QoS 2 arrives exactly once, QoS 1 at least once and first in the order of publish(), through
//   interruptions, restarts of the broker that keep its sessions, and a kill of this process. When
//   the broker has lost the session, QoS 2 that it had acknowledged counts as delivered, and what
//   it had not is sent again: it cannot be known better.
//   One message is given up: that for which the broker ends the connection, which would keep all
//   others from being sent. That is seen by the connection that broke five times in a row while the
//   message was the oldest one on its way, with nothing confirmed in between. A break does not
//   count when it comes more than ten seconds after that, or when an MQTT 5 broker gives a reason
//   of its own: it shuts down, is busy, or has our session taken over. The future holds an Error of
//   kind refused; where nobody has the future any more, that is a line on stderr.
//
// Slow handlers: up to 10000 messages or 64 MiB wait for a handler. Then the transport leaves the
// broker (State::interrupted, with that reason) until half of them were handled, or for ten seconds
// at most, since a handler may wait for the connection. A persistent session loses nothing by that;
// QoS 0 that comes beyond the bound is dropped and counted in the log.
//
// A broker that speaks no MQTT, or none that makes sense, costs the connection and no more:
// connect() fails, or State::interrupted comes. One that does not answer is left after 30 seconds,
// or by close(). A packet has at most 256 MiB, the protocol's own bound. What an MQTT 5 broker says
// in its CONNACK is respected: its receive maximum is waited for, its keep-alive is used, and a
// message that is beyond its maximum packet size, its maximum QoS, or retained where that is not
// available, fails with an Error of kind refused.
class HWID_TRANSPORT_API Transport {
 public:
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  // Closes with a deadline of five seconds. In a handler it returns while that handler still runs.
  virtual ~Transport();

  // Ready when the other side has accepted us. A first failure is final (connect() may be called
  // again): a wrong CA or key is reported, not retried for ever.
  virtual std::future<void> connect() = 0;

  // Returns when the message is accepted (above), which may wait for the disk. The future tells of
  // the delivery: it is ready when the other side has the message (QoS 0: when it was written to
  // the connection). Refused: the future is ready at once, with an Error
  //   of kind full: the bounds are reached, or the disk is full (the reason says which);
  //   of kind usage: a bad topic or property (wildcards, no UTF-8, above 65535 bytes), a message
  //     beyond the protocol's 256 MiB, or no connect() before (not required with spool-dir);
  //   of kind environment: the spool cannot be written; of kind closed: after close().
  // Later it may hold one of kind full (dropped for a newer message), refused (by the broker), or
  // closed. A message that stays in the spool at close() or at the end of the process has no future
  // in the next one: who needs its fate asks the other side.
  virtual std::future<Delivery> publish(Message message) = 0;

  // Ready when the subscription is granted; Error of kind refused when it is not. May be called
  // before connect(), and should be with a persistent session: what the broker kept arrives at once
  // after it. One handler a filter, a second call replaces it. A subscription whose future failed
  // does not exist.
  virtual std::future<void> subscribe(std::string filter, Qos qos, MessageHandler handler) = 0;

  virtual std::future<void> unsubscribe(std::string filter) = 0;

  // Publishes and waits for the answer, on properties.response_topic or, where that is empty, on
  // the topic with its last level `req` replaced by `resp`. The answer is the message there whose
  // JSON field requestId equals that of the payload, or whose MQTT 5 correlation data equals ours;
  // a payload without requestId needs MQTT 5. The response topic stays subscribed. Error of kind
  // timeout when no answer came; an answer that comes later goes to the handlers, if one is
  // subscribed. Any number may be under way. A request is never spooled: it has no meaning when
  // nobody waits for its answer any more.
  virtual std::future<Message> request(Message message, std::chrono::milliseconds timeout) = 0;

  // Replaces the handler of state changes; set it before connect() to see all of them.
  virtual void on_state(StateHandler handler) = 0;

  // Lets what was accepted be delivered, then disconnects; what is left at the deadline, or when
  // the connection breaks or is interrupted (by slow handlers, too), is dropped or stays in the
  // spool (its futures hold an Error of kind closed). No handler begins after it returns; one that
  // still runs at the deadline, or calls it, is waited for by the destructor. There is no way back:
  // open a new transport. A deadline of more than a day counts as one day, and so does the timeout
  // of a request.
  virtual void close(std::chrono::milliseconds deadline) noexcept = 0;
};

// Makes the transport for the scheme of config.endpoint; does not connect. Throws Error: unknown
// scheme, bad endpoint, an option that the scheme cannot honour. Threads: any.
HWID_TRANSPORT_API std::unique_ptr<Transport> open(const DeviceConfig& config);

using Factory = std::function<std::unique_ptr<Transport>(const DeviceConfig&)>;

// Adds a scheme (lower case, without "://"), or replaces one, for the whole process. Threads: any.
HWID_TRANSPORT_API void register_scheme(std::string scheme, Factory factory);

// For the factory of a scheme of your own, so that nothing in device.conf is ignored: throws Error
// for the first key that asks for something (other than its default), is about the connection, and
// is not in `honoured`. What every scheme may ignore need not be named: endpoint, client-id,
// profile, allow-plaintext, topics.*, and the keys of enrolment. Threads: any.
HWID_TRANSPORT_API void refuse_other_options(const DeviceConfig& config,
                                             const std::vector<std::string>& honoured);

}  // namespace hwid::transport
