// The audit hook: one event for each key operation.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "provider/core/error.h"

namespace hwid::core {

struct AuditEvent {
  std::string_view operation;  // load login sign decrypt derive generate
  std::string_view backend;
  std::string_view token;
  std::string_view object;     // label, or hex of the id; empty for a login
  std::string_view mechanism;  // empty where there is none
  std::string_view result;     // "ok", or the CKR_ / TPM_RC_ name
  std::chrono::microseconds duration;
};

// Takes events. record() is called on the operation's own thread, with no lock of ours held, and
// must not throw or block for long.
class AuditSink {
 public:
  virtual ~AuditSink() = default;
  virtual void record(const AuditEvent& event) noexcept = 0;
};

// Runs `body` and records what came of it. Without a sink it costs one comparison.
template <typename Body>
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
        if (std::uncaught_exceptions() == exceptions) report("ok");
      }
    } const succeeded{record};
    return body();
  } catch (const Error& error) {
    record(error.code.empty() ? "failed" : std::string_view(error.code));
    throw;
  }
}

}  // namespace hwid::core
