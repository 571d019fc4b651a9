// The audit trail in the system's log.
#pragma once

#include <string>

#include "provider/core/audit_line.h"
#include "provider/core/log.h"
#include "provider/core/process.h"

namespace hwid::core {

inline constexpr char kSyslogSocket[] = "/dev/log";

// One datagram a line, in syslog(3)'s form (RFC 3164): facility authpriv, tag hwid-audit, severity
// info, or notice for what failed. The socket is made for each line, so none can be closed, or be
// held by a child, or lead to a logger that was restarted; a logger that does not keep up costs
// lines and no time. (syslog(3) blocks, takes locks that a fork can leave held, and has one
// identity for the whole program.)
class AuditSyslog final : public AuditSink {
 public:
  AuditSyslog(std::string socket, const Log& log);
  void record(const AuditEvent& event) noexcept override;

 private:
  struct Drops : AuditDrops {
    explicit Drops(const Drops*) {}
  };
  int send(const AuditLine& line, bool ok) const;

  const std::string socket_;
  const std::string exe_;
  const Log& log_;
  const long utc_offset_;  // seconds
  EpochLocal<Drops> drops_;
};

}  // namespace hwid::core
