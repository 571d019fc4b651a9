// The audit hook: one event for each key operation.
#pragma once

#include <chrono>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "provider/core/audit_fields.h"
#include "provider/core/error.h"

namespace hwid::core {

class Log;

struct AuditEvent {
  std::string_view operation = {};  // audit_field::kLoad and on
  std::string_view backend = {};
  std::string_view token = {};
  std::string_view object = {};     // label, or hex of the id; empty for a login
  std::string_view mechanism = {};  // empty where there is none
  std::string_view result = {};     // audit_field::kOk, or audit_result
  std::chrono::microseconds duration{};
};

// Takes events. record() is called on the operation's own thread, with no lock of ours held (but
// for a login: the one that logins of its token wait for), and must not throw or block for long.
class AuditSink {
 public:
  virtual ~AuditSink() = default;
  virtual void record(const AuditEvent& event) noexcept = 0;
};

// `audit` in the provider's section: off, syslog, syslog:PATH (of another socket) or file:PATH.
struct AuditSetting {
  enum class Sink { kOff, kSyslog, kFile } sink = Sink::kOff;
  std::string path = {};
  // Throws kBadConfiguration. Asks the file system nothing.
  static AuditSetting parse(std::string_view text);
};

// Null if the trail is off. `log`, which must live as long, is told why lines are lost.
std::unique_ptr<AuditSink> make_audit_sink(const AuditSetting& setting, const Log& log);

// The name of the device's code; where it answered none, the reason in words.
std::string_view audit_result(const Error& error) noexcept;

enum class Audited { kAll, kFailures };

// Runs `body` and records what came of it. Without a sink it costs one comparison.
template <Audited Which = Audited::kAll, typename Body>
auto audited(AuditSink* sink, AuditEvent event, Body&& body) {
  if (sink == nullptr) return body();
  const auto begin = std::chrono::steady_clock::now();
  const auto record = [&](std::string_view result) {
    event.result = result;
    event.duration = std::chrono::duration_cast<std::chrono::microseconds>(
        std::chrono::steady_clock::now() - begin);
    sink->record(event);
  };
  try {
    struct Succeeded {  // records after the return value was made
      const decltype(record)& report;
      int exceptions = std::uncaught_exceptions();
      ~Succeeded() {
        if (Which == Audited::kAll && std::uncaught_exceptions() == exceptions)
          report(audit_field::kOk);
      }
    } const succeeded{record};
    return body();
  } catch (const Error& error) {
    record(audit_result(error));
    throw;
  } catch (...) {
    record(reason_text(Reason::kInternal));
    throw;
  }
}

}  // namespace hwid::core
