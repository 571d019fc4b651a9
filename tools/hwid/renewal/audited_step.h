// Enrolment and renewal in the audit trail, beside what keys do.
#pragma once

#include <hwid/transport_error.h>

#include <chrono>
#include <string>
#include <string_view>

#include "provider/core/audit.h"
#include "tools/hwid/audit/record.h"
#include "tools/hwid/invocation.h"
#include "transport/credential_store.h"

namespace hwid::tool::renewal {

// From its making on the time is taken.
class AuditedStep {
 public:
  AuditedStep(Invocation& invocation, const transport::CredentialStore& store,
              std::string_view backend)
      : sink_(invocation.audit()),
        name_(store.directory().filename().string()),
        backend_(backend) {}

  // `what` was done: the CA was asked ("simpleenroll"), or a generation became the current one.
  void record(const std::string& what, std::string_view result) const {
    if (sink_ == nullptr) return;
    core::AuditEvent event;
    event.operation = audit::kEnrol;
    event.backend = backend_;
    event.object = name_;
    event.mechanism = what;
    event.result = result;
    event.duration = std::chrono::duration_cast<std::chrono::microseconds>(
        std::chrono::steady_clock::now() - begin_);
    sink_->record(event);
  }
  void record_failure(const std::string& what, const transport::Error& error) const {
    record(what, error.kind() == transport::ErrorKind::refused ? "refused" : "no answer");
  }
  // Runs `action`, and records it if it throws transport::Error.
  template <typename Action>
  auto watch(const std::string& what, Action action) const {
    try {
      return action();
    } catch (const transport::Error& error) {
      record_failure(what, error);
      throw;
    }
  }

 private:
  core::AuditSink* sink_;
  std::string name_;
  std::string backend_;  // est, aws
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace hwid::tool::renewal
